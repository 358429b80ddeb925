// What each function may do: exact actions on named resources, the same as in infra/sam/parts. Makes no resources.

import { Aws, Stack } from 'aws-cdk-lib';
import { Effect, PolicyDocument, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';

/** The resources that permissions name. */
export interface Named {
  readonly stack: string;
  readonly tableArn: string;
  readonly bucketArn: string;
  readonly topicArn: string;
  readonly keyArn?: string;
  readonly inVpc: boolean;
  /** Secrets the functions may read; none: those named sluicegate/STACK/… */
  readonly secretArns: readonly string[];
  /** SSM parameters the functions may read; none: those below /sluicegate/STACK/ */
  readonly parameterArns: readonly string[];
}

/** An ARN in this account and region. */
export function arn(scope: Construct, service: string, rest: string): string {
  return `arn:${Stack.of(scope).partition}:${service}:${Aws.REGION}:${Aws.ACCOUNT_ID}:${rest}`;
}

function allow(sid: string, actions: string[], ...resources: string[]): PolicyStatement {
  return new PolicyStatement({ sid, effect: Effect.ALLOW, actions, resources });
}

/** Use of the key that queues, table and bucket are encrypted with. */
function key(named: Pick<Named, 'keyArn'>): PolicyStatement[] {
  return named.keyArn === undefined ? [] : [allow('Key', ['kms:Decrypt', 'kms:GenerateDataKey'], named.keyArn)];
}

function common(scope: Construct, named: Named, name: string): PolicyStatement[] {
  const secrets = named.secretArns.length > 0 ? named.secretArns : [arn(scope, 'secretsmanager', `secret:sluicegate/${named.stack}/*`)];
  const parameters = named.parameterArns.length > 0 ? named.parameterArns : [arn(scope, 'ssm', `parameter/sluicegate/${named.stack}/*`)];
  const state = ['BatchGetItem', 'BatchWriteItem', 'ConditionCheckItem', 'DeleteItem', 'GetItem', 'PutItem', 'Query', 'UpdateItem'];
  const network = [
    'AssignPrivateIpAddresses',
    'CreateNetworkInterface',
    'DeleteNetworkInterface',
    'DescribeNetworkInterfaces',
    'DescribeSubnets',
    'UnassignPrivateIpAddresses',
  ];
  return [
    allow('Log', ['logs:CreateLogStream', 'logs:PutLogEvents'], arn(scope, 'logs', `log-group:/aws/lambda/${name}:*`)),
    allow('State', state.map((action) => `dynamodb:${action}`), named.tableArn),
    allow('Secrets', ['secretsmanager:GetSecretValue'], ...secrets),
    allow('Parameters', ['ssm:GetParameter'], ...parameters),
    allow('Alerts', ['sns:Publish'], named.topicArn),
    // X-Ray has no resources to name.
    allow('Traces', ['xray:PutTelemetryRecords', 'xray:PutTraceSegments'], '*'),
    // Lambda checks these on every network interface before it knows which will be its own.
    ...(named.inVpc ? [allow('Network', network.map((action) => `ec2:${action}`), '*')] : []),
    ...key(named),
    // Missing objects answer 404 to those who may list, and 403 to all others.
    allow('Missing', ['s3:ListBucket'], named.bucketArn),
  ];
}

/** What the extractor may do. */
export function forExtractor(
  scope: Construct,
  named: Named,
  name: string,
  queueArns: string[],
  failedArn: string,
  warehouses: readonly PolicyStatement[],
): PolicyDocument {
  return new PolicyDocument({
    statements: [
      ...common(scope, named, name),
      allow('Batches', ['sqs:GetQueueUrl', 'sqs:SendMessage'], ...queueArns),
      allow('FailedEvents', ['sqs:SendMessage'], failedArn),
      allow('Plans', ['s3:GetObject', 's3:PutObject'], `${named.bucketArn}/plans/*`),
      allow('LargeBatches', ['s3:PutObject'], `${named.bucketArn}/batches/*`),
      allow('GoOn', ['lambda:InvokeFunction'], arn(scope, 'lambda', `function:${name}`)),
      ...warehouses,
    ],
  });
}

/** What the writer of one destination may do. */
export function forWriter(scope: Construct, named: Named, name: string, queueArn: string, dlqArn: string): PolicyDocument {
  return new PolicyDocument({
    statements: [
      ...common(scope, named, name),
      allow('Batches', ['sqs:ChangeMessageVisibility', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes', 'sqs:ReceiveMessage'], queueArn),
      allow('SetAside', ['sqs:SendMessage'], dlqArn),
      allow('SendAnew', ['sqs:SendMessage'], queueArn),
      allow('LargeBatches', ['s3:DeleteObject', 's3:GetObject', 's3:PutObject'], `${named.bucketArn}/batches/*`),
    ],
  });
}

/** What schedules may do: start the extractor, and set aside a tick that was not delivered. */
export function forScheduler(named: Pick<Named, 'keyArn'>, extractorArn: string, dlqArn: string): PolicyDocument {
  return new PolicyDocument({
    statements: [allow('Start', ['lambda:InvokeFunction'], extractorArn), allow('MissedTicks', ['sqs:SendMessage'], dlqArn), ...key(named)],
  });
}
