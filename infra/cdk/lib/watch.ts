// Alarms and dashboard out of infra/watch, the page that the SAM template is made from as well.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Aws } from 'aws-cdk-lib';
import { CfnAlarm, CfnDashboard } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { parse } from 'yaml';
import { Destination } from './destinations';

/** What the pages may speak of. */
export interface Words {
  readonly stack: string;
  readonly table: string;
  /** Settings in upper camel case, such as `OldestMessageSeconds`. */
  readonly settings: Readonly<Record<string, number>>;
}

interface Alarm {
  readonly name: string;
  readonly says: string;
  readonly of: string;
  readonly by: Record<string, string>;
  readonly stat: string;
  readonly over?: number | string | { readonly milliseconds: number; readonly of: string };
  readonly under?: number;
  readonly period: number;
  readonly times?: number;
  readonly missing?: string;
}

interface Line {
  readonly of: string;
  readonly by: Record<string, string>;
  readonly stat: string;
  readonly label: string;
}

interface Widget {
  readonly title: string;
  readonly lines?: Line[];
  readonly search?: string;
  readonly stat?: string;
  readonly unit?: string;
}

function page<T>(infra: string, name: string): T {
  return parse(readFileSync(join(infra, 'watch', name), 'utf8')) as T;
}

function fill(text: string, words: Words, destination?: Destination): string {
  return text
    .replaceAll('{destination}', destination?.name ?? '{destination}')
    .replaceAll('{stack}', words.stack)
    .replaceAll('{table}', words.table);
}

function setting(name: string, words: Words): number {
  const value = words.settings[name];
  if (value === undefined) {
    throw new Error(`infra/watch speaks of the setting ${name}, which there is not`);
  }
  return value;
}

function figure(given: NonNullable<Alarm['over']> | undefined, words: Words): number {
  if (typeof given === 'number') {
    return given;
  }
  if (typeof given === 'object') {
    return given.milliseconds * setting(given.of, words);
  }
  return setting(given?.replace(/^\{(.*)\}$/, '$1') ?? '', words);
}

/** Each entry once, or once for each destination when it speaks of one. */
function each<T>(entries: readonly T[], destinations: readonly Destination[]): [T, Destination | undefined][] {
  const speaks = (entry: T): boolean => JSON.stringify(entry).includes('{destination}');
  const own = entries.filter((entry) => !speaks(entry)).map((entry): [T, undefined] => [entry, undefined]);
  return [...own, ...destinations.flatMap((d) => entries.filter(speaks).map((entry): [T, Destination] => [entry, d]))];
}

function split(metric: string): [string, string] {
  const at = metric.lastIndexOf('/');
  return [metric.slice(0, at), metric.slice(at + 1)];
}

/** Makes the alarms; each speaks to the topic when it goes off and when all is well again. */
export function makeAlarms(scope: Construct, infra: string, destinations: readonly Destination[], topic: string, words: Words): void {
  const { alarms } = page<{ alarms: Alarm[] }>(infra, 'alarms.yaml');
  for (const [alarm, destination] of each(alarms, destinations)) {
    const name = fill(alarm.name, words, destination);
    const [namespace, metricName] = split(alarm.of);
    new CfnAlarm(scope, `alarm-${name}`, {
      alarmName: `${words.stack}-${name}`,
      alarmDescription: fill(alarm.says, words, destination),
      namespace,
      metricName,
      dimensions: Object.entries(alarm.by).map(([key, value]) => ({ name: key, value: fill(value, words, destination) })),
      statistic: alarm.stat,
      period: alarm.period,
      evaluationPeriods: alarm.times ?? 1,
      comparisonOperator: alarm.over !== undefined ? 'GreaterThanThreshold' : 'LessThanThreshold',
      threshold: figure(alarm.over ?? alarm.under, words),
      treatMissingData: alarm.missing ?? 'notBreaching',
      alarmActions: [topic],
      okActions: [topic],
    });
  }
}

/** Makes the dashboard; widgets find their own place on the page. */
export function makeDashboard(scope: Construct, infra: string, destinations: readonly Destination[], words: Words): void {
  const { widgets } = page<{ widgets: Widget[] }>(infra, 'dashboard.yaml');
  const made = widgets.map(({ title, lines, search, stat, unit }) => {
    const what = `{Sluicegate,Destination,Stack,Sync} MetricName="${search}" Stack="${words.stack}"`;
    const metrics = lines
      ? each(lines, destinations).map(([line, d]) => [
          ...split(line.of),
          ...Object.entries(line.by).flatMap(([key, value]) => [key, fill(value, words, d)]),
          { stat: line.stat, label: fill(line.label, words, d) },
        ])
      : [[{ expression: `SEARCH('${what}', '${stat}', 300)`, id: 'by_sync', label: "${PROP('Dim.Sync')}" }]];
    const yAxis = { left: { min: 0, ...(unit === undefined ? {} : { label: unit, showUnits: false }) } };
    const properties = { title, region: Aws.REGION, view: 'timeSeries', period: 300, metrics, yAxis };
    return { type: 'metric', width: 12, height: 6, properties };
  });
  new CfnDashboard(scope, 'dashboard', { dashboardName: words.stack, dashboardBody: JSON.stringify({ widgets: made }) });
}
