// The app: one stack, its destinations from infra/destinations.yaml, everything else from the context (`-c key=value`).

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { App, Stack, Validations } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { readDestinations } from '../lib/destinations';
import { ReverseEtl } from '../lib/reverse-etl';
import { readWarehouses } from '../lib/warehouses';

const app = new App();
const infra = resolve(__dirname, '..', '..', '..');

/** A context value as text; absent and empty are the same. */
function text(key: string): string | undefined {
  const value: unknown = app.node.tryGetContext(key);
  return value === undefined || value === '' ? undefined : String(value);
}

function number(key: string): number | undefined {
  const value = text(key);
  if (value !== undefined && !/^[0-9]+$/.test(value)) {
    throw new Error(`-c ${key}=${value}: a whole number is needed`);
  }
  return value === undefined ? undefined : Number(value);
}

function list(key: string): string[] | undefined {
  return text(key)?.split(',');
}

function architecture(): Architecture | undefined {
  const value = text('architecture') ?? 'arm64';
  if (value !== 'arm64' && value !== 'x86_64') {
    throw new Error(`-c architecture=${value}: it is arm64 or x86_64`);
  }
  return value === 'arm64' ? Architecture.ARM_64 : Architecture.X86_64;
}

/** With `-c bundle=false` nothing is built: good for looking at the template, not for deploying it. */
function prebuilt(): string | undefined {
  if (text('bundle') !== 'false') {
    const folder = text('prebuilt');
    return folder === undefined ? undefined : resolve(folder);
  }
  const folder = mkdtempSync(join(tmpdir(), 'sluicegate-nothing-'));
  for (const binary of ['extractor', 'writer']) {
    mkdirSync(join(folder, binary));
    writeFileSync(join(folder, binary, 'bootstrap'), '#!/bin/sh\necho "made by cdk synth -c bundle=false: not to be deployed" >&2\nexit 1\n');
  }
  return folder;
}

const stack = new Stack(app, text('stack') ?? 'sluicegate', { description: 'Sluicegate - reverse ETL from the warehouse to the tools people work in.' });
const subnetIds = list('subnetIds');
const keyArn = text('kmsKeyArn');
const pattern = text('eventPattern');

const listed = text('list') ?? join(infra, 'destinations.yaml');

new ReverseEtl(stack, 'sluicegate', {
  destinations: readDestinations(listed),
  warehouses: readWarehouses(listed),
  architecture: architecture(),
  prebuilt: prebuilt(),
  extractorMemory: number('extractorMemory'),
  extractorTimeout: number('extractorTimeout'),
  extractorStorage: number('extractorStorage'),
  spoolMemory: number('spoolMemory'),
  maxMessageBytes: number('maxMessageBytes'),
  stallSeconds: number('stallSeconds'),
  secretArns: list('secretArns'),
  parameterArns: list('parameterArns'),
  eventPattern: pattern === undefined ? undefined : (JSON.parse(pattern) as Record<string, unknown>),
  eventBus: text('eventBus'),
  eventMaxAge: number('eventMaxAge'),
  vpc: subnetIds && { subnetIds, securityGroupIds: list('securityGroupIds') ?? [] },
  encryptionKey: keyArn === undefined ? undefined : Key.fromKeyArn(stack, 'key', keyArn),
  logLevel: text('logLevel'),
  logRetention: number('logRetention'),
  alarmEmail: text('alarmEmail'),
  freshnessTarget: number('freshnessTarget'),
  oldestMessageSeconds: number('oldestMessageSeconds'),
});

Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
