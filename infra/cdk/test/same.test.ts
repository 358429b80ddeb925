// The CDK app and the SAM template give the same stack for the same list and settings: every resource with every property, and
// every output. What may differ is named in shape.ts.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { App, Stack } from 'aws-cdk-lib';
import { Template as Synthesized } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { readDestinations } from '../lib/destinations';
import { ReverseEtlProps } from '../lib/props';
import { ReverseEtl } from '../lib/reverse-etl';
import { readWarehouses } from '../lib/warehouses';
import { shape } from './shape';
import { Raw, readTemplate, Template } from './template';

const infra = resolve(__dirname, '..', '..', '..');
const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
const NAME = 'reverse';

function scratch(): string {
  return mkdtempSync(join(tmpdir(), 'sluicegate-cdk-'));
}

function prebuilt(): string {
  const folder = scratch();
  for (const binary of ['extractor', 'writer']) {
    mkdirSync(join(folder, binary));
    writeFileSync(join(folder, binary, 'bootstrap'), binary);
  }
  return folder;
}

/** The stack as the CDK makes it; `more` may need the stack. */
function synthesize(list: string, more: (stack: Stack) => Partial<ReverseEtlProps>): Template {
  const stack = new Stack(new App(), NAME);
  new ReverseEtl(stack, 'sluicegate', { destinations: readDestinations(list), warehouses: readWarehouses(list), prebuilt: prebuilt(), ...more(stack) });
  return new Template(Synthesized.fromStack(stack).toJSON() as Raw, NAME);
}

function same(sam: Template, cdk: Template): void {
  const [ours, theirs] = [shape(sam.resources()), shape(cdk.resources())];
  assert.deepEqual(Object.keys(theirs).sort(), Object.keys(ours).sort());
  for (const name of Object.keys(ours)) {
    assert.deepEqual(theirs[name], ours[name], name);
  }
  assert.deepEqual(cdk.outputs(), sam.outputs());
}

test('with every setting left alone', () => {
  const sam = new Template(readTemplate(join(infra, 'sam', 'template.yaml')), NAME);
  const cdk = synthesize(join(infra, 'destinations.yaml'), () => ({}));
  assert.ok(sam.resources().length > 35);
  same(sam, cdk);
});

test('with every setting made', () => {
  const sam = new Template(readTemplate(join(infra, 'sam', 'template.yaml')), NAME, {
    Architecture: 'x86_64',
    ExtractorMemory: 3008,
    ExtractorTimeout: 600,
    ExtractorStorage: 4096,
    SpoolMemory: 512,
    MaxMessageBytes: 1048576,
    StallSeconds: 3600,
    SecretArns: 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:one,arn:aws:secretsmanager:eu-west-1:111122223333:secret:two',
    ParameterArns: 'arn:aws:ssm:eu-west-1:111122223333:parameter/one',
    EventPattern: '{"source":["dbt"]}',
    EventBus: 'partners',
    EventMaxAge: 600,
    SubnetIds: 'subnet-11111111,subnet-22222222',
    SecurityGroupIds: 'sg-11111111',
    KmsKeyArn: KEY,
    LogLevel: 'debug',
    LogRetention: 7,
    AlarmEmail: 'data@example.com',
    FreshnessTarget: 0,
    OldestMessageSeconds: 600,
  });
  const cdk = synthesize(join(infra, 'destinations.yaml'), (stack) => ({
    architecture: Architecture.X86_64,
    extractorMemory: 3008,
    extractorTimeout: 600,
    extractorStorage: 4096,
    spoolMemory: 512,
    maxMessageBytes: 1048576,
    stallSeconds: 3600,
    secretArns: ['arn:aws:secretsmanager:eu-west-1:111122223333:secret:one', 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:two'],
    parameterArns: ['arn:aws:ssm:eu-west-1:111122223333:parameter/one'],
    eventPattern: { source: ['dbt'] },
    eventBus: 'partners',
    eventMaxAge: 600,
    vpc: { subnetIds: ['subnet-11111111', 'subnet-22222222'], securityGroupIds: ['sg-11111111'] },
    encryptionKey: Key.fromKeyArn(stack, 'key', KEY),
    logLevel: 'debug',
    logRetention: 7,
    alarmEmail: 'data@example.com',
    freshnessTarget: 0,
    oldestMessageSeconds: 600,
  }));
  same(sam, cdk);
});

/** Renders the SAM template of a list; throws with what the program says. */
function render(list: string): string {
  const output = join(scratch(), 'template.yaml');
  execFileSync(process.env.PYTHON ?? 'python3', [join(infra, 'sam', 'render.py'), '--list', list, '--output', output], { stdio: ['ignore', 'ignore', 'pipe'] });
  return output;
}

function write(text: string): string {
  const file = join(scratch(), 'destinations.yaml');
  writeFileSync(file, text);
  return file;
}

test('with many destinations of all kinds', () => {
  const list = write(`
destinations:
  - { name: crm-eu, concurrency: 1 }
  - { name: crm-us, concurrency: 20, rate: 190/10s, reserved: 20 }
  - { name: app, concurrency: 2, batch: 10, timeout: 300, memory: 512 }
`);
  same(new Template(readTemplate(render(list)), NAME), synthesize(list, () => ({})));
});

const WAREHOUSES = `
destinations:
  - { name: crm, concurrency: 2 }
warehouses:
  - { name: analytics, type: redshift, workgroup: 'arn:aws:redshift-serverless:eu-west-1:111122223333:workgroup/11111111-2222', unload: s3://acme-unload/sluicegate/ }
  - { name: old-one, type: redshift, cluster: analytics, database: dev }
  - { name: lake, type: athena, databases: [marts, staging], data: [s3://acme-lake/marts/, s3://acme-lake/staging/], output: s3://acme-results/sluicegate/ }
  - { name: own, type: athena, workgroup: crm, databases: [crm], data: [s3://acme-crm/], output: s3://acme-crm/results/ }
`;

test('with warehouses that AWS guards', () => {
  const list = write(WAREHOUSES);
  const sam = new Template(readTemplate(render(list)), NAME);
  const role = sam.resources().find((resource) => JSON.stringify(resource).includes('athena:StartQueryExecution'));
  assert.ok(role !== undefined && JSON.stringify(role).includes('redshift-data:statement-owner-iam-userid'));
  same(sam, synthesize(list, () => ({})));
});

test('both refuse the same warehouses with the same sentence', () => {
  const lists: [string, RegExp][] = [
    ['[{ name: sf, type: snowflake }]', /`type` is one of athena, redshift, not .snowflake.; others need no permission/],
    ['[{ name: rs, type: redshift }]', /it has a `workgroup`, by its ARN, or a `cluster`/],
    ['[{ name: rs, type: redshift, workgroup: analytics }]', /`workgroup` is the ARN of a workgroup, not .analytics./],
    ['[{ name: rs, type: redshift, cluster: a }]', /`database` is the name of a database/],
    ['[{ name: rs, type: redshift, cluster: a, database: d, unload: bucket }]', /`unload` is a folder in S3/],
    ['[{ name: lake, type: athena, data: [s3://lake/], output: s3://out/ }]', /`databases` is a list with at least one entry/],
    ['[{ name: lake, type: athena, databases: [a], data: [s3://lake/], output: s3://out/*}]', /`output` is a folder in S3/],
    ['[{ name: lake, type: athena, bucket: a }]', /there is no setting bucket; there are data, databases, name, output, type, workgroup/],
    ['[{ name: rs, type: redshift, cluster: a, database: d }, { name: rs, type: redshift, cluster: a, database: d }]', /too alike/],
  ];
  for (const [list, sentence] of lists) {
    const file = write(`destinations:\n  - { name: crm, concurrency: 2 }\nwarehouses: ${list}\n`);
    assert.throws(() => synthesize(file, () => ({})), sentence, `the CDK app takes ${list}`);
    assert.throws(() => render(file), (error: { stderr?: Buffer }) => sentence.test(String(error.stderr)), `render.py takes ${list}`);
  }
});

test('both refuse the same lists with the same sentence', () => {
  const lists: [string, RegExp][] = [
    ['[]', /at least one/],
    ['[{ name: extractor, concurrency: 2 }]', /`extractor`: a name is a-z/],
    ['[{ name: crm-dlq, concurrency: 2 }]', /does not end with/],
    ['[{ name: CRM, concurrency: 2 }]', /a name is a-z/],
    ['[{ name: a-b, concurrency: 2 }, { name: a-b, concurrency: 2 }]', /too alike/],
    ['[{ name: crm, concurrency: 0 }]', /`concurrency` is a whole number from 1 to 1000, not 0/],
    ['[{ name: crm, concurrency: 2, rate: fast }]', /requests in a time/],
    ['[{ name: crm, concurrency: 2, batch: 11 }]', /`batch` is a whole number from 1 to 10, not 11/],
    ['[{ name: crm, concurrency: 2, timeout: 600 }]', /`timeout` is a whole number from 30 to 300, not 600/],
    ['[{ name: crm, concurrency: 2, colour: red }]', /there is no setting colour/],
  ];
  for (const [list, sentence] of lists) {
    const file = write(`destinations: ${list}\n`);
    assert.throws(() => synthesize(file, () => ({})), sentence, `the CDK app takes ${list}`);
    assert.throws(() => render(file), (error: { stderr?: Buffer }) => sentence.test(String(error.stderr)), `render.py takes ${list}`);
  }
});
