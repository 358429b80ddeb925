// The list of destinations, read and checked as infra/sam/render.py does it. Makes no resources.

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** A destination as one writes it into infra/destinations.yaml, or gives it to the construct. */
export interface DestinationProps {
  /** The connection's name in connections.yaml: a-z, 0-9 and "-", at most 32 characters. */
  readonly name: string;
  /** Writers at once, 1 to 1000. */
  readonly concurrency: number;
  /** Requests in a time over all writers, such as `100/10s`. Default: what the connector knows of the vendor. */
  readonly rate?: string;
  /** Messages handed to a writer at once, 1 to 10. Default: 5. */
  readonly batch?: number;
  /** Seconds a writer has for them, 30 to 300. Default: 120. */
  readonly timeout?: number;
  /** MB of a writer. Default: 256. */
  readonly memory?: number;
  /** Concurrency reserved for this writer. Default: none, but exactly 1 when `concurrency` is 1. */
  readonly reserved?: number;
}

/** A destination with everything decided. */
export interface Destination {
  readonly name: string;
  /** Its name in logical ids. */
  readonly id: string;
  /** The maximum of the event source mapping, which knows none below 2. */
  readonly maximum: number;
  readonly reserved?: number;
  readonly rate?: string;
  readonly batch: number;
  /** Seconds. */
  readonly timeout: number;
  /** Seconds a message stays invisible: six times the timeout. */
  readonly visibility: number;
  /** Seconds a claim of a batch lasts: longer than the writer that made it. */
  readonly claim: number;
  /** MB. */
  readonly memory: number;
}

const SETTINGS = ['batch', 'concurrency', 'memory', 'name', 'rate', 'reserved', 'timeout'];
const TAKEN = ['extractor', 'schedule'];

function whole(name: string, key: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new Error(`destination \`${name}\`: \`${key}\` is a whole number from ${least} to ${most}, not ${JSON.stringify(value)}`);
  }
  return value;
}

/** Checks a destination and decides what it leaves open. */
export function decide(given: DestinationProps): Destination {
  const { name } = given;
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,31}$/.test(name) || /-(dlq)?$/.test(name) || TAKEN.includes(name)) {
    throw new Error(
      `destination \`${name}\`: a name is a-z, 0-9 and \`-\`, begins with a letter, has at most 32 characters, ` +
        `does not end with \`-\` or \`-dlq\`, and is not one of ${TAKEN.join(', ')}`,
    );
  }
  const unknown = Object.keys(given).filter((key) => !SETTINGS.includes(key));
  if (unknown.length > 0) {
    throw new Error(`destination \`${name}\`: there is no setting ${unknown.join(', ')}; there are ${SETTINGS.join(', ')}`);
  }
  if (given.rate !== undefined && !/^[1-9][0-9]*\/[1-9][0-9]*(ms|s|m|h|d)$/.test(given.rate)) {
    throw new Error(`destination \`${name}\`: \`rate\` is requests in a time, such as 100/10s, not ${JSON.stringify(given.rate)}`);
  }
  const concurrency = whole(name, 'concurrency', given.concurrency, 1, 1000);
  const timeout = whole(name, 'timeout', given.timeout ?? 120, 30, 300);
  const reserved = given.reserved === undefined ? undefined : whole(name, 'reserved', given.reserved, 1, 1000);
  return {
    name,
    id: name
      .split('-')
      .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
      .join(''),
    maximum: Math.max(concurrency, 2),
    reserved: reserved ?? (concurrency === 1 ? 1 : undefined),
    rate: given.rate,
    batch: whole(name, 'batch', given.batch ?? 5, 1, 10),
    timeout,
    visibility: 6 * timeout,
    claim: timeout + 30,
    memory: whole(name, 'memory', given.memory ?? 256, 128, 10240),
  };
}

/** Checks a list of destinations. */
export function decideAll(given: readonly DestinationProps[]): Destination[] {
  if (given.length === 0) {
    throw new Error('a stack has at least one destination');
  }
  const all = given.map(decide);
  const seen = new Map<string, string>();
  for (const { id, name } of all) {
    const before = seen.get(id);
    if (before !== undefined) {
      throw new Error(`destinations \`${before}\` and \`${name}\` are too alike: CloudFormation would call both ${id}`);
    }
    seen.set(id, name);
  }
  return all;
}

/** The destinations of a file such as infra/destinations.yaml. */
export function readDestinations(file: string): DestinationProps[] {
  const data: unknown = parse(readFileSync(file, 'utf8'));
  const keys = typeof data === 'object' && data !== null ? Object.keys(data) : [];
  const list = (data as { destinations?: unknown } | null)?.destinations;
  if (!Array.isArray(list) || keys.some((key) => key !== 'destinations' && key !== 'warehouses')) {
    throw new Error(`${file} has a key \`destinations\`, with at least one entry, and none beside it but \`warehouses\``);
  }
  return list as DestinationProps[];
}
