// What the extractor may do at the warehouses of the list, as its own AWS role: exact actions on named resources, the same as
// in infra/sam/warehouses.py. Makes no resources.

import { readFileSync } from 'node:fs';
import { Stack } from 'aws-cdk-lib';
import { Effect, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { parse } from 'yaml';
import { arn } from './permissions';

/** A warehouse that AWS guards, as one writes it into infra/destinations.yaml, or gives it to the construct. */
export interface WarehouseProps {
  /** The connection's name in connections.yaml. */
  readonly name: string;
  /** `redshift` or `athena`; others need no permission of AWS. */
  readonly type: string;
  /** Redshift: the ARN of a serverless workgroup. Athena: the name of the workgroup; default `primary`. */
  readonly workgroup?: string;
  /** Redshift: the name of a provisioned cluster, with `database`. */
  readonly cluster?: string;
  readonly database?: string;
  /** Redshift: the folder that results are unloaded into. */
  readonly unload?: string;
  /** Athena: the databases that models read. */
  readonly databases?: readonly string[];
  /** Athena: the folders that their tables lie in. */
  readonly data?: readonly string[];
  /** Athena: the folder of results. */
  readonly output?: string;
}

const SETTINGS: Record<string, readonly string[]> = {
  athena: ['data', 'databases', 'name', 'output', 'type', 'workgroup'],
  redshift: ['cluster', 'database', 'name', 'type', 'unload', 'workgroup'],
};
const WRITES = ['s3:AbortMultipartUpload', 's3:DeleteObject', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'];

type Grant = readonly [string, readonly string[], readonly string[]];

class Entry {
  readonly word: string;

  constructor(
    private readonly scope: Construct,
    readonly given: WarehouseProps,
  ) {
    this.word = given.name
      .split('-')
      .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
      .join('');
  }

  refuse(what: string): never {
    throw new Error(`warehouse \`${this.given.name}\`: ${what}`);
  }

  text(key: keyof WarehouseProps, pattern: RegExp, what: string, fallback?: string): string {
    const value: unknown = this.given[key] ?? fallback;
    return typeof value === 'string' && pattern.test(value) ? value : this.refuse(`\`${key}\` is ${what}, not ${JSON.stringify(value)}`);
  }

  folder(key: string, value: unknown): readonly [string, string] {
    const pattern = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/([A-Za-z0-9/_.=-]*)$/;
    const [, bucket, path] = (typeof value === 'string' && pattern.exec(value)) || [];
    if (bucket === undefined || path === undefined) {
      return this.refuse(`\`${key}\` is a folder in S3, such as s3://bucket/prefix/, not ${JSON.stringify(value)}`);
    }
    const prefix = path.replace(/\/+$/, '');
    return [bucket, prefix === '' ? '*' : `${prefix}/*`];
  }

  here(service: string, rest: string): string {
    return arn(this.scope, service, rest);
  }

  s3(rest: string): string {
    return `arn:${Stack.of(this.scope).partition}:s3:::${rest}`;
  }
}

function redshift(entry: Entry): Grant[] {
  const { given, word } = entry;
  if ((given.workgroup === undefined) === (given.cluster === undefined)) {
    entry.refuse('it has a `workgroup`, by its ARN, or a `cluster` with its `database`');
  }
  const grants: Grant[] = [];
  if (given.workgroup !== undefined) {
    const pattern = /^arn:[a-z-]+:redshift-serverless:[a-z0-9-]+:[0-9]{12}:workgroup\/[a-z0-9-]+$/;
    const workgroup = entry.text('workgroup', pattern, 'the ARN of a workgroup');
    grants.push([`Execute${word}`, ['redshift-data:ExecuteStatement', 'redshift-serverless:GetCredentials'], [workgroup]]);
  } else {
    const cluster = entry.text('cluster', /^[a-z][a-z0-9-]*$/, 'the name of a cluster');
    const database = entry.text('database', /^[A-Za-z0-9_$]+$/, 'the name of a database');
    grants.push(
      [`Execute${word}`, ['redshift-data:ExecuteStatement'], [entry.here('redshift', `cluster:${cluster}`)]],
      [`Login${word}`, ['redshift:GetClusterCredentialsWithIAM'], [entry.here('redshift', `dbname:${cluster}/${database}`)]],
    );
  }
  // Statements have no ARN: those of this role, and no others.
  grants.push([`Own${word}`, ['redshift-data:CancelStatement', 'redshift-data:DescribeStatement', 'redshift-data:GetStatementResult'], ['*']]);
  if (given.unload !== undefined) {
    const [bucket, prefix] = entry.folder('unload', given.unload);
    grants.push(
      [`List${word}`, ['s3:ListBucket'], [entry.s3(bucket)]],
      [`Results${word}`, ['s3:DeleteObject', 's3:GetObject'], [entry.s3(`${bucket}/${prefix}`)]],
    );
  }
  return grants;
}

function athena(entry: Entry): Grant[] {
  const { given, word } = entry;
  const workgroup = entry.text('workgroup', /^[A-Za-z0-9._-]+$/, 'the name of a workgroup', 'primary');
  const some = (key: 'databases' | 'data'): readonly string[] => {
    const value: unknown = given[key];
    return Array.isArray(value) && value.length > 0
      ? (value as string[])
      : entry.refuse(`\`${key}\` is a list with at least one entry, not ${JSON.stringify(value)}`);
  };
  const [databases, data] = [some('databases'), some('data')];
  for (const name of databases) {
    if (typeof name !== 'string' || !/^[a-z0-9_]+$/.test(name)) {
      entry.refuse(`\`databases\` are names of a-z, 0-9 and \`_\`, not ${JSON.stringify(name)}`);
    }
  }
  const output = entry.folder('output', given.output);
  const read = data.map((value) => entry.folder('data', value));
  const buckets = [...new Set([...read.map(([bucket]) => bucket), output[0]])];
  const queries = ['athena:GetQueryExecution', 'athena:GetQueryResults', 'athena:StartQueryExecution', 'athena:StopQueryExecution'];
  const tables = databases.flatMap((name) => [entry.here('glue', `database/${name}`), entry.here('glue', `table/${name}/*`)]);
  return [
    [`Query${word}`, queries, [entry.here('athena', `workgroup/${workgroup}`)]],
    [`Describe${word}`, ['athena:GetTableMetadata'], [entry.here('athena', 'datacatalog/AwsDataCatalog')]],
    [`Catalog${word}`, ['glue:GetDatabase', 'glue:GetPartitions', 'glue:GetTable'], [entry.here('glue', 'catalog'), ...tables]],
    [`List${word}`, ['s3:GetBucketLocation', 's3:ListBucket'], buckets.map((bucket) => entry.s3(bucket))],
    [`Data${word}`, ['s3:GetObject'], read.map(([bucket, prefix]) => entry.s3(`${bucket}/${prefix}`))],
    [`Results${word}`, WRITES, [entry.s3(`${output[0]}/${output[1]}`)]],
  ];
}

const KINDS: Record<string, (entry: Entry) => Grant[]> = { athena, redshift };

/** What the warehouses of a list need. */
export function forWarehouses(scope: Construct, given: readonly WarehouseProps[]): PolicyStatement[] {
  const seen = new Set<string>();
  const grants = given.flatMap((props) => {
    if (typeof props?.name !== 'string' || !/^[a-z][a-z0-9-]{0,31}$/.test(props.name)) {
      throw new Error(`a warehouse is a mapping with a \`name\` of a-z, 0-9 and \`-\`, not ${JSON.stringify(props)}`);
    }
    const entry = new Entry(scope, props);
    const [grant, settings] = [KINDS[props.type], SETTINGS[props.type]];
    if (grant === undefined || settings === undefined) {
      return entry.refuse(`\`type\` is one of ${Object.keys(KINDS).sort().join(', ')}, not ${JSON.stringify(props.type)}; others need no permission of AWS`);
    }
    const unknown = Object.keys(props).filter((key) => !settings.includes(key));
    if (unknown.length > 0) {
      entry.refuse(`there is no setting ${unknown.sort().join(', ')}; there are ${settings.join(', ')}`);
    }
    if (seen.has(entry.word)) {
      throw new Error(`warehouses are too alike: two would be called ${entry.word}`);
    }
    seen.add(entry.word);
    return grant(entry);
  });
  return grants.map(([sid, actions, resources]) => {
    const own = resources[0] === '*' ? { StringEquals: { 'redshift-data:statement-owner-iam-userid': '${aws:userid}' } } : undefined;
    return new PolicyStatement({ sid, effect: Effect.ALLOW, actions: [...actions], resources: [...resources], conditions: own });
  });
}

/** The warehouses of a file such as infra/destinations.yaml. */
export function readWarehouses(file: string): WarehouseProps[] {
  const list = (parse(readFileSync(file, 'utf8')) as { warehouses?: unknown } | null)?.warehouses ?? [];
  if (!Array.isArray(list)) {
    throw new Error(`\`warehouses\` is a list, not ${JSON.stringify(list)}`);
  }
  return list as WarehouseProps[];
}
