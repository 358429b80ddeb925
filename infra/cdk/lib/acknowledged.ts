// Findings of cdk-nag that were looked at and stay, each on its own resource with its reason. Everything else fails `cdk synth`.

import { Aws, Stack, Validations } from 'aws-cdk-lib';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';

function say(on: Construct, id: string, reason: string): void {
  Validations.of(on).acknowledge({ id, reason });
}

/** The bucket of plans and large batches. */
export function ofBucket(bucket: Bucket): void {
  say(
    bucket,
    'AwsSolutions::AwsSolutions-S1',
    'Only the two functions read and write it, what it holds is gone after 15 days, and a second bucket for its access log would outlive that; CloudTrail data events record access where that is wanted.',
  );
}

/** A queue that is the end of the road: it is watched by an alarm, and read by a person. */
export function ofLastQueue(queue: Construct, ofDestination: boolean): void {
  say(queue, 'Serverless::Serverless-SQSRedrivePolicy', 'It is a dead-letter queue itself: whatever it passed on would have nowhere to go either.');
  if (!ofDestination) {
    say(queue, 'AwsSolutions::AwsSolutions-SQS3', 'It is where Lambda, EventBridge and Scheduler put what they could not deliver; cdk-nag knows only the redrive policy of another queue.');
  }
}

/** The subscription that sends alarms to a person. */
export function ofEmail(subscription: Construct): void {
  say(
    subscription,
    'Serverless::Serverless-SNSRedrivePolicy',
    'A mail that cannot be delivered is about an alarm whose state CloudWatch still shows; a queue of undelivered mails would need an alarm of its own.',
  );
}

/** The extractor. */
export function ofExtractor(extractor: Construct): void {
  say(extractor, 'Serverless::Serverless-LambdaDLQ', 'What failed goes to the on-failure destination, which also keeps the reason; a dead-letter target would get the same event a second time.');
}

/** A writer. */
export function ofWriter(writer: Construct): void {
  say(writer, 'Serverless::Serverless-LambdaDLQ', 'It is invoked by its queue only, never asynchronously; messages that fail go to the dead-letter queue of that queue.');
  say(
    writer,
    'Serverless::Serverless-LambdaEventSourceMappingDestination',
    'A mapping of an SQS queue has no failure destination, only those of streams do: the queue has a redrive policy instead.',
  );
}

/** What the wildcards in the role of a function are for; any other fails. */
export function ofRole(role: Construct, name: string, stack: string, bucket: Bucket, folders: readonly string[]): void {
  const here = (service: string, rest: string): string => `arn:<AWS::Partition>:${service}:<AWS::Region>:<AWS::AccountId>:${rest}`;
  const objects = `<${Stack.of(bucket).getLogicalId(bucket.node.defaultChild as never)}.Arn>`;
  const wildcard = (resource: string, reason: string): void => say(role, `AwsSolutions::AwsSolutions-IAM5[Resource::${resource}]`, reason);
  wildcard('*', 'X-Ray has no resources to name; nor has EC2 for network interfaces that do not exist yet, which is granted only with a VPC.');
  wildcard(here('logs', `log-group:/aws/lambda/${name}:*`), 'The log streams of this one log group, which Lambda names as it makes them.');
  wildcard(here('secretsmanager', `secret:sluicegate/${stack}/*`), 'The secrets of this stack, by their prefix: Secrets Manager ends the ARN of each with six random letters.');
  wildcard(here('ssm', `parameter/sluicegate/${stack}/*`), 'The parameters of this stack, by their path: connections are added without a deployment.');
  for (const folder of folders) {
    wildcard(`${objects}/${folder}/*`, 'The objects of one folder of the bucket of this stack; their names begin with the run they belong to.');
  }
  say(role, 'Serverless::Serverless-LambdaStarPermissions', 'Those named one by one under AwsSolutions-IAM5, and no others.');
}

/** The wildcards in what warehouses need: the objects of a folder, the tables of a database. */
export function ofWarehouses(role: Construct, grants: readonly PolicyStatement[]): void {
  const stack = Stack.of(role);
  const wide = grants.flatMap((grant) => grant.resources).filter((resource) => resource !== '*' && resource.includes('*'));
  for (const resource of new Set(wide)) {
    const named = resource
      .replaceAll(stack.partition, '<AWS::Partition>')
      .replaceAll(Aws.REGION, '<AWS::Region>')
      .replaceAll(Aws.ACCOUNT_ID, '<AWS::AccountId>');
    say(role, `AwsSolutions::AwsSolutions-IAM5[Resource::${named}]`, 'The objects of one folder, or the tables of one database, that infra/destinations.yaml names; their names are not known before.');
  }
}
