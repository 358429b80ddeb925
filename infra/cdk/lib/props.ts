// What the construct can be told, and what holds when it is not told. The same settings as the SAM template's parameters.

import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { DestinationProps } from './destinations';
import { WarehouseProps } from './warehouses';

/** Private subnets and security groups that the functions run in. */
export interface VpcProps {
  readonly subnetIds: readonly string[];
  readonly securityGroupIds: readonly string[];
}

/** Everything a `ReverseEtl` can be told. */
export interface ReverseEtlProps {
  /** The destinations: each gets a queue, a dead-letter queue, a writer and its alarms. */
  readonly destinations: readonly DestinationProps[];
  /** The warehouses that the extractor asks as its own AWS role. Default: none. */
  readonly warehouses?: readonly WarehouseProps[];
  /** What names begin with, and what `sluice --stack` is given. Default: the name of the stack. */
  readonly name?: string;
  /** Processor of the functions. Default: arm64. */
  readonly architecture?: Architecture;
  /** Folder with `extractor/bootstrap` and `writer/bootstrap`, as `cargo lambda build` leaves them. Default: built on the way. */
  readonly prebuilt?: string;
  /** The top folder of the repository. Default: the one this file is in. */
  readonly repository?: string;
  /** MB. Default: 1769, one whole processor. */
  readonly extractorMemory?: number;
  /** Seconds an extraction may take: 120, 300, 600 or 900. Default: 900. */
  readonly extractorTimeout?: number;
  /** MB of temporary disk. Default: 2048. */
  readonly extractorStorage?: number;
  /** MB of mapped records kept in memory before they go to the temporary disk. Default: 256. */
  readonly spoolMemory?: number;
  /** Largest message of a queue. Default: 262144. */
  readonly maxMessageBytes?: number;
  /** A run without progress for so long is closed as incomplete. Default: 1800. */
  readonly stallSeconds?: number;
  /** Secrets the functions may read. Default: those named sluicegate/STACK/… */
  readonly secretArns?: readonly string[];
  /** SSM parameters the functions may read. Default: those below /sluicegate/STACK/ */
  readonly parameterArns?: readonly string[];
  /** Pattern of EventBridge events of other systems that start syncs. Default: none. */
  readonly eventPattern?: Record<string, unknown>;
  /** Name or ARN of the bus the pattern is matched on. Default: `default`. */
  readonly eventBus?: string;
  /** Seconds after which an event that could not start the extractor is given up. Default: 3600. */
  readonly eventMaxAge?: number;
  /** Private subnets to run in. Default: no VPC. */
  readonly vpc?: VpcProps;
  /** Customer managed key for table, bucket, queues, topic, logs and variables. Default: keys of AWS. */
  readonly encryptionKey?: IKey;
  /** What the functions log. Default: info. */
  readonly logLevel?: string;
  /** Days that logs are kept. Default: 30. */
  readonly logRetention?: number;
  /** Address that alarms go to. Default: none; subscribe to `alertTopic` yourself. */
  readonly alarmEmail?: string;
  /** Alarm when a sync delivers so many seconds later than its schedule lets it; its own `alerts.freshness` goes before. 0: only that. Default: 86400. */
  readonly freshnessTarget?: number;
  /** Alarm when a batch has waited for so many seconds. Default: 3600. */
  readonly oldestMessageSeconds?: number;
}

/** The defaults of the settings that have one. */
export const DEFAULTS = {
  extractorMemory: 1769,
  extractorTimeout: 900,
  extractorStorage: 2048,
  spoolMemory: 256,
  maxMessageBytes: 262144,
  stallSeconds: 1800,
  eventBus: 'default',
  eventMaxAge: 3600,
  logLevel: 'info',
  logRetention: 30,
  freshnessTarget: 86400,
  oldestMessageSeconds: 3600,
};

/** Settings that are given, over those that are not. */
export function withDefaults(props: ReverseEtlProps): ReverseEtlProps & typeof DEFAULTS {
  const given = Object.fromEntries(Object.entries(props).filter(([, value]) => value !== undefined));
  return { ...DEFAULTS, ...given } as ReverseEtlProps & typeof DEFAULTS;
}
