// What of a resource must be the same in both stacks, in one form: the SAM function as what it expands to, lists of permissions
// sorted, a list of one as its member. Left out is only where the code lies and how a role is called.

import { Made } from './template';

type Values = Record<string, unknown>;

/** Values in which order and notation no longer matter. */
function plain(given: unknown): unknown {
  if (Array.isArray(given)) {
    return given.map(plain);
  }
  if (typeof given === 'object' && given !== null) {
    const entries = Object.entries(given as Values);
    return Object.fromEntries(entries.map(([key, value]) => [key, key === 'Variables' ? texts(value) : plain(value)]));
  }
  return given;
}

/** The environment of a function: CloudFormation makes text of everything there. */
function texts(given: unknown): Values {
  return Object.fromEntries(Object.entries(given as Values).map(([key, value]) => [key, String(value)]));
}

function listed(given: unknown): string[] {
  return (Array.isArray(given) ? given : [given]).map(String).sort();
}

function statement(given: Values, ofRole: boolean): Values {
  const principal = given.Principal === '*' ? { AWS: '*' } : given.Principal;
  const { Sid, Action, Resource, ...rest } = given;
  return {
    ...rest,
    Action: listed(Action),
    ...(Resource !== undefined && { Resource: listed(Resource) }),
    ...(principal !== undefined && { Principal: principal }),
    // In a policy of a resource, the CDK gives names of its own.
    ...(ofRole && { Sid }),
  };
}

function document(given: unknown, ofRole = false): Values[] {
  const statements = (given as { Statement: Values[] }).Statement.map((s) => statement(s, ofRole));
  const order = (s: Values): string => JSON.stringify([s.Sid, s.Effect, s.Action, s.Resource, s.Principal]);
  return statements.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** A function of SAM as the resources it becomes. */
function expanded({ properties }: Made): [string, Values][] {
  const { CodeUri: _code, Role: _role, Tracing, Events, EventInvokeConfig, ...rest } = properties as Values & {
    Events?: Record<string, { Properties: Values & { Queue: string } }>;
    EventInvokeConfig?: Values & { DestinationConfig: { OnFailure: { Destination: string } } };
  };
  const name = String(rest.FunctionName);
  const out: [string, Values][] = [[`function ${name}`, { ...rest, TracingConfig: { Mode: Tracing } }]];
  for (const { Properties } of Object.values(Events ?? {})) {
    const { Queue, ...mapping } = Properties;
    out.push([`mapping of ${Queue}`, { ...mapping, EventSourceArn: Queue, FunctionName: name }]);
  }
  if (EventInvokeConfig) {
    const { DestinationConfig, ...retries } = EventInvokeConfig;
    const failed = { OnFailure: { Destination: DestinationConfig.OnFailure.Destination } };
    out.push([`asynchronous ${name}`, { ...retries, DestinationConfig: failed, FunctionName: name, Qualifier: '$LATEST' }]);
  }
  return out;
}

function nameOf(given: unknown): string {
  return String(given).replace(/^<AWS::Lambda::Function (.*?)(\.Arn)?>$/, '$1');
}

function shapes(made: Made): [string, unknown][] {
  const p = made.properties;
  switch (made.type) {
    case 'AWS::Serverless::Function':
      return expanded(made);
    case 'AWS::Lambda::Function': {
      const { Code: _code, Role: _role, ...rest } = p;
      return [[`function ${String(p.FunctionName)}`, rest]];
    }
    case 'AWS::Lambda::EventSourceMapping':
      return [[`mapping of ${String(p.EventSourceArn)}`, { ...p, FunctionName: nameOf(p.FunctionName) }]];
    case 'AWS::Lambda::EventInvokeConfig':
      return [[`asynchronous ${nameOf(p.FunctionName)}`, { ...p, FunctionName: nameOf(p.FunctionName) }]];
    case 'AWS::IAM::Role': {
      const policies = (p.Policies as { PolicyName: string; PolicyDocument: unknown }[]).map((policy) => document(policy.PolicyDocument, true));
      const log = JSON.stringify(policies).match(/log-group:[^"]*/)?.[0] ?? 'scheduler';
      const { Policies: _policies, AssumeRolePolicyDocument, ...rest } = p;
      return [[`role ${log}`, { ...rest, trust: document(AssumeRolePolicyDocument), policies }]];
    }
    case 'AWS::SQS::QueuePolicy':
      return [[`policy of ${String(p.Queues)}`, document(p.PolicyDocument)]];
    case 'AWS::SNS::TopicPolicy':
      return [[`policy of ${String(p.Topics)}`, document(p.PolicyDocument)]];
    case 'AWS::S3::BucketPolicy':
      return [[`policy of ${String(p.Bucket)}`, document(p.PolicyDocument)]];
    case 'AWS::Events::Rule':
      return [['rule', { ...p, EventPattern: typeof p.EventPattern === 'string' ? JSON.parse(p.EventPattern) : p.EventPattern }]];
    case 'AWS::CloudWatch::Dashboard':
      return [[`dashboard ${String(p.DashboardName)}`, JSON.parse(String(p.DashboardBody))]];
    case 'AWS::Logs::LogGroup':
    case 'AWS::SQS::Queue':
    case 'AWS::DynamoDB::Table':
    case 'AWS::S3::Bucket':
      return [[`${made.type} ${String(p.LogGroupName ?? p.QueueName ?? '')}`, { ...p, deletion: made.deletion }]];
    default:
      return [[`${made.type} ${String(p.AlarmName ?? p.Name ?? p.TopicName ?? '')}`, p]];
  }
}

/** Everything a stack makes, by what it is; two of the same name are an error. */
export function shape(resources: readonly Made[]): Values {
  const out: Values = {};
  for (const [name, value] of resources.flatMap(shapes)) {
    if (name in out) {
      throw new Error(`the comparison cannot tell two resources apart: ${name}`);
    }
    out[name] = plain(value);
  }
  return out;
}
