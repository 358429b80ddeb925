// The whole of Sluicegate on AWS as one construct: the same resources, names, settings and outputs as infra/sam/template.yaml.

import { join, resolve } from 'node:path';
import { Aws, CfnOutput, Duration, RemovalPolicy, Size, Stack } from 'aws-cdk-lib';
import { AttributeType, BillingMode, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { CfnRule } from 'aws-cdk-lib/aws-events';
import { Effect, PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, CfnFunction, Code, Function, FunctionOptions, LoggingFormat, Runtime, Tracing } from 'aws-cdk-lib/aws-lambda';
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { CfnSchedule, CfnScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import { Subscription, SubscriptionProtocol, Topic } from 'aws-cdk-lib/aws-sns';
import { DeadLetterQueue, Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { RustFunction } from 'cargo-lambda-cdk';
import { Construct } from 'constructs';
import * as acknowledged from './acknowledged';
import { decideAll, Destination } from './destinations';
import { arn, forExtractor, forScheduler, forWriter, Named } from './permissions';
import { DEFAULTS, ReverseEtlProps, withDefaults } from './props';
import { forWarehouses } from './warehouses';
import { makeAlarms, makeDashboard } from './watch';

const FORTNIGHT = Duration.days(14);
/** A pointer outlives the message that holds it. */
const KEPT = Duration.days(15);

/** Reverse ETL from a warehouse to destinations. One to a stack: `sluice` finds it by the stack's outputs. */
export class ReverseEtl extends Construct {
  /** State: heads, buckets, manifest, runs, batches, limiter, dead letters, definitions. */
  readonly table: Table;
  /** Stored plans and batches that are too large for a message. */
  readonly bucket: Bucket;
  /** Where alarms and the functions' own alerts go. */
  readonly alertTopic: Topic;
  /** Plans runs and enqueues their batches. */
  readonly extractor: Function;
  /** The writers by destination. */
  readonly writers: ReadonlyMap<string, Function>;

  private readonly settings: ReverseEtlProps & typeof DEFAULTS;
  private readonly stack: string;

  constructor(scope: Construct, id: string, props: ReverseEtlProps) {
    super(scope, id);
    this.settings = withDefaults(props);
    const stack = (this.stack = props.name ?? Stack.of(this).stackName);
    const destinations = decideAll(props.destinations);

    this.table = this.makeTable();
    this.bucket = this.makeBucket();
    this.alertTopic = this.makeTopic();
    const named: Named = {
      stack,
      tableArn: this.table.tableArn,
      bucketArn: this.bucket.bucketArn,
      topicArn: this.alertTopic.topicArn,
      keyArn: props.encryptionKey?.keyArn,
      inVpc: props.vpc !== undefined,
      secretArns: props.secretArns ?? [],
      parameterArns: props.parameterArns ?? [],
    };

    const queues = new Map(destinations.map((d) => [d.name, this.makeQueues(d)]));
    const failed = this.makeQueue('extractor-dlq');
    const missed = this.makeQueue('schedule-dlq');
    acknowledged.ofLastQueue(failed, false);
    acknowledged.ofLastQueue(missed, false);
    this.extractor = this.makeExtractor(named, [...queues.values()].map((q) => q.queue.queueArn), failed);
    this.writers = new Map(destinations.map((d) => [d.name, this.makeWriter(d, named, queues.get(d.name)!)]));
    const { group, role } = this.makeSchedules(named, missed);
    this.makeEventRule(missed);

    const infra = join(this.repository(), 'infra');
    const { extractorTimeout, oldestMessageSeconds } = this.settings;
    const words = {
      stack,
      table: this.table.tableName,
      settings: { ExtractorTimeout: extractorTimeout, OldestMessageSeconds: oldestMessageSeconds },
    };
    makeAlarms(this, infra, destinations, this.alertTopic.topicArn, words);
    makeDashboard(this, infra, destinations, words);

    this.output('Table', this.table.tableName, 'The table of the state');
    this.output('Bucket', this.bucket.bucketName, 'The bucket of plans and large batches');
    this.output('QueuePrefix', `${stack}-`, 'What the names of the queues begin with');
    this.output('Extractor', this.extractor.functionName, 'Name of the extractor');
    this.output('ExtractorArn', this.extractor.functionArn, 'ARN of the extractor');
    this.output('ExtractorRole', this.extractor.role!.roleArn, 'Role of the extractor; what is outside of this account trusts it by this ARN');
    this.output('SchedulerRole', role.roleArn, 'Role that schedules start the extractor with');
    this.output('ScheduleGroup', group.ref, 'Group of the schedules');
    this.output('ScheduleDlq', missed.queueArn, 'Queue of ticks that were not delivered');
    this.output('Destinations', destinations.map((d) => d.name).join(','), 'Connections this stack has a queue and a writer for');
    this.output('AlertTopic', this.alertTopic.topicArn, 'Topic of alarms and alerts');
  }

  /** The command looks for outputs by these very names. */
  private output(name: string, value: string, description: string): void {
    new CfnOutput(this, `output-${name}`, { value, description }).overrideLogicalId(name);
  }

  private repository(): string {
    // This file runs from infra/cdk/dist/lib.
    return this.settings.repository ?? resolve(__dirname, '..', '..', '..', '..');
  }

  private makeTable(): Table {
    const { encryptionKey } = this.settings;
    return new Table(this, 'table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: 'ttl',
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      ...(encryptionKey && { encryption: TableEncryption.CUSTOMER_MANAGED, encryptionKey }),
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }

  private makeBucket(): Bucket {
    const { encryptionKey } = this.settings;
    const bucket = new Bucket(this, 'bucket', {
      ...(encryptionKey ? { encryption: BucketEncryption.KMS, encryptionKey, bucketKeyEnabled: true } : { encryption: BucketEncryption.S3_MANAGED }),
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      lifecycleRules: [
        { id: 'uploads', abortIncompleteMultipartUploadAfter: Duration.days(1) },
        { id: 'plans', prefix: 'plans/', expiration: KEPT },
        { id: 'batches', prefix: 'batches/', expiration: KEPT },
      ],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    acknowledged.ofBucket(bucket);
    return bucket;
  }

  private makeTopic(): Topic {
    const { alarmEmail, encryptionKey } = this.settings;
    // The key of AWS for SNS would keep CloudWatch's alarms out; a key of yours can let them in.
    const topic = new Topic(this, 'alerts', { topicName: `${this.stack}-alerts`, enforceSSL: true, masterKey: encryptionKey });
    topic.addToResourcePolicy(
      new PolicyStatement({
        effect: Effect.ALLOW,
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
      }),
    );
    if (alarmEmail) {
      acknowledged.ofEmail(new Subscription(this, 'alarm-email', { topic, protocol: SubscriptionProtocol.EMAIL, endpoint: alarmEmail }));
    }
    return topic;
  }

  private makeQueue(name: string, visibility?: number, deadLetterQueue?: DeadLetterQueue): Queue {
    const { encryptionKey } = this.settings;
    return new Queue(this, `queue-${name}`, {
      queueName: `${this.stack}-${name}`,
      retentionPeriod: FORTNIGHT,
      ...(visibility && { visibilityTimeout: Duration.seconds(visibility) }),
      ...(encryptionKey ? { encryption: QueueEncryption.KMS, encryptionMasterKey: encryptionKey } : { encryption: QueueEncryption.SQS_MANAGED }),
      enforceSSL: true,
      deadLetterQueue,
    });
  }

  private makeQueues(d: Destination): { queue: Queue; dlq: Queue } {
    const dlq = this.makeQueue(`${d.name}-dlq`);
    acknowledged.ofLastQueue(dlq, true);
    // The writer counts attempts itself, and a throttled message comes back many times without using one up:
    // only messages that kill or overrun the writer each time get this far.
    const queue = this.makeQueue(d.name, d.visibility, { queue: dlq, maxReceiveCount: 100 });
    return { queue, dlq };
  }

  /** A function of one of the two binaries, with what both have in common. */
  private makeFunction(id: string, binary: 'extractor' | 'writer', name: string, policy: PolicyDocument, own: FunctionOptions): Function {
    const { architecture = Architecture.ARM_64, encryptionKey, logLevel, maxMessageBytes, prebuilt, stallSeconds, vpc } = this.settings;
    const role = new Role(this, `${id}-role`, { assumedBy: new ServicePrincipal('lambda.amazonaws.com'), inlinePolicies: { [binary]: policy } });
    acknowledged.ofRole(role, name, this.stack, this.bucket, binary === 'extractor' ? ['plans', 'batches'] : ['batches']);
    const options: FunctionOptions = {
      ...own,
      functionName: name,
      architecture,
      tracing: Tracing.ACTIVE,
      // The functions print JSON lines themselves, and metrics in CloudWatch's embedded format.
      loggingFormat: LoggingFormat.TEXT,
      logGroup: new LogGroup(this, `${id}-log`, {
        logGroupName: `/aws/lambda/${name}`,
        retention: this.settings.logRetention,
        encryptionKey,
        removalPolicy: RemovalPolicy.DESTROY,
      }),
      environmentEncryption: encryptionKey,
      // The policy says all; nothing is added to it behind its back.
      role: role.withoutPolicyUpdates(),
      environment: {
        SLUICEGATE_STACK: this.stack,
        SLUICEGATE_TABLE: this.table.tableName,
        SLUICEGATE_BUCKET: this.bucket.bucketName,
        SLUICEGATE_MAX_MESSAGE_BYTES: String(maxMessageBytes),
        SLUICEGATE_STALL_SECONDS: String(stallSeconds),
        SLUICEGATE_ALERT_TOPIC: this.alertTopic.topicArn,
        SLUICEGATE_LOG: logLevel,
        ...own.environment,
      },
    };
    const made = prebuilt
      ? new Function(this, id, { ...options, runtime: Runtime.PROVIDED_AL2023, handler: 'bootstrap', code: Code.fromAsset(join(prebuilt, binary)) })
      : new RustFunction(this, id, {
          ...options,
          manifestPath: join(this.repository(), 'Cargo.toml'),
          binaryName: binary,
          bundling: { architecture, cargoLambdaFlags: ['--locked'] },
        });
    if (vpc) {
      (made.node.defaultChild as CfnFunction).vpcConfig = { subnetIds: [...vpc.subnetIds], securityGroupIds: [...vpc.securityGroupIds] };
    }
    return made;
  }

  private makeExtractor(named: Named, queueArns: string[], failed: Queue): Function {
    const name = `${this.stack}-extractor`;
    const { eventMaxAge, extractorMemory, extractorStorage, extractorTimeout, freshnessTarget, spoolMemory } = this.settings;
    const grants = forWarehouses(this, this.settings.warehouses ?? []);
    const extractor = this.makeFunction('extractor', 'extractor', name, forExtractor(this, named, name, queueArns, failed.queueArn, grants), {
      description: 'Plans a run of a sync and enqueues its batches.',
      memorySize: extractorMemory,
      timeout: Duration.seconds(extractorTimeout),
      ephemeralStorageSize: Size.mebibytes(extractorStorage),
      retryAttempts: 2,
      maxEventAge: Duration.seconds(eventMaxAge),
      onFailure: new SqsDestination(failed),
      environment: {
        SLUICEGATE_QUEUE_PREFIX: `${this.stack}-`,
        SLUICEGATE_SPOOL_MEMORY_MB: String(spoolMemory),
        SLUICEGATE_FRESHNESS_SECONDS: String(freshnessTarget),
      },
    });
    acknowledged.ofWarehouses(this.node.findChild('extractor-role'), grants);
    acknowledged.ofExtractor(extractor);
    return extractor;
  }

  private makeWriter(d: Destination, named: Named, { queue, dlq }: { queue: Queue; dlq: Queue }): Function {
    const name = `${this.stack}-writer-${d.name}`;
    const writer = this.makeFunction(`writer-${d.name}`, 'writer', name, forWriter(this, named, name, queue.queueArn, dlq.queueArn), {
      description: `Delivers batches to ${d.name}.`,
      memorySize: d.memory,
      timeout: Duration.seconds(d.timeout),
      reservedConcurrentExecutions: d.reserved,
      environment: {
        SLUICEGATE_DESTINATION: d.name,
        SLUICEGATE_QUEUE_URL: queue.queueUrl,
        SLUICEGATE_DLQ_URL: dlq.queueUrl,
        ...(d.rate && { SLUICEGATE_RATE: d.rate }),
        SLUICEGATE_CLAIM_SECONDS: String(d.claim),
      },
    });
    acknowledged.ofWriter(writer);
    writer.addEventSource(new SqsEventSource(queue, { batchSize: d.batch, maxConcurrency: d.maximum, reportBatchItemFailures: true }));
    return writer;
  }

  /** `sluice apply` puts one schedule per sync into the group. */
  private makeSchedules(named: Named, missed: Queue): { group: CfnScheduleGroup; role: Role } {
    const group = new CfnScheduleGroup(this, 'schedule-group', { name: this.stack });
    const role = new Role(this, 'scheduler-role', {
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: {
          StringEquals: {
            'aws:SourceAccount': Aws.ACCOUNT_ID,
            'aws:SourceArn': [this.stack, `${this.stack}-watch`].map((name) => arn(this, 'scheduler', `schedule-group/${name}`)),
          },
        },
      }),
      inlinePolicies: { scheduler: forScheduler(named, this.extractor.functionArn, missed.queueArn) },
    });
    this.makeWatch(role, missed);
    return { group, role };
  }

  /** The stack's own schedule has a group of its own: `sluice apply --prune` empties the other of what no project has. */
  private makeWatch(role: Role, missed: Queue): void {
    const name = `${this.stack}-watch`;
    const group = new CfnScheduleGroup(this, 'watch-group', { name });
    new CfnSchedule(this, 'watch', {
      name,
      groupName: group.ref,
      description: 'Looks whether runs start, and how old the data of each sync are.',
      scheduleExpression: 'rate(5 minutes)',
      flexibleTimeWindow: { mode: 'OFF' },
      target: {
        arn: this.extractor.functionArn,
        roleArn: role.roleArn,
        input: '{"watch":true}',
        deadLetterConfig: { arn: missed.queueArn },
        // A look that is five minutes late is the next one.
        retryPolicy: { maximumEventAgeInSeconds: 300, maximumRetryAttempts: 2 },
      },
    });
  }

  /** Events of other systems (say: a dbt run finished); the extractor matches them to syncs. */
  private makeEventRule(missed: Queue): void {
    const { eventBus, eventMaxAge, eventPattern } = this.settings;
    if (!eventPattern) {
      return;
    }
    const rule = new CfnRule(this, 'event-rule', {
      description: 'Hands events of other systems to the extractor.',
      eventBusName: eventBus,
      eventPattern,
      targets: [
        {
          id: 'extractor',
          arn: this.extractor.functionArn,
          deadLetterConfig: { arn: missed.queueArn },
          retryPolicy: { maximumEventAgeInSeconds: eventMaxAge, maximumRetryAttempts: 10 },
        },
      ],
    });
    this.extractor.addPermission('event-rule', { principal: new ServicePrincipal('events.amazonaws.com'), sourceArn: rule.attrArn });
    missed.addToResourcePolicy(
      new PolicyStatement({
        effect: Effect.ALLOW,
        principals: [new ServicePrincipal('events.amazonaws.com')],
        actions: ['sqs:SendMessage'],
        resources: [missed.queueArn],
        conditions: { ArnEquals: { 'aws:SourceArn': rule.attrArn } },
      }),
    );
  }
}
