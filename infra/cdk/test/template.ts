// A CloudFormation template as plain values: conditions decided, intrinsic functions worked out, references by what they refer to.
// Knows the functions that the two templates use, and fails on any other.

import { readFileSync } from 'node:fs';
import { parse, ScalarTag, CollectionTag } from 'yaml';

type Values = Record<string, unknown>;

interface Resource {
  readonly Type: string;
  readonly Condition?: string;
  readonly DeletionPolicy?: string;
  readonly Properties?: Values;
}

/** A template as written. */
export interface Raw {
  readonly Parameters?: Record<string, { readonly Default?: unknown }>;
  readonly Mappings?: Record<string, Record<string, Values>>;
  readonly Conditions?: Values;
  readonly Resources: Record<string, Resource>;
  readonly Outputs?: Record<string, { readonly Value: unknown; readonly Description?: string }>;
}

/** A resource that is really made. */
export interface Made {
  readonly type: string;
  readonly deletion: string | undefined;
  readonly properties: Values;
}

const GONE = Symbol('AWS::NoValue');
const NAMES = ['AlarmName', 'DashboardName', 'FunctionName', 'LogGroupName', 'Name', 'QueueName', 'TopicName'];

/** Reads a template with CloudFormation's short forms. */
export function readTemplate(file: string): Raw {
  const long = (tag: string): string => (tag === '!Ref' || tag === '!Condition' ? tag.slice(1) : `Fn::${tag.slice(1)}`);
  const scalar = (tag: string): ScalarTag => ({
    tag,
    resolve: (text: string) => ({ [long(tag)]: tag === '!GetAtt' ? text.split(/\.(.*)/s).slice(0, 2) : text }),
  });
  const list = (tag: string): CollectionTag => ({
    tag,
    collection: 'seq',
    resolve: (node) => ({ [long(tag)]: node.toJSON() as unknown }) as never,
  });
  const lists = ['!And', '!Equals', '!FindInMap', '!If', '!Join', '!Not', '!Or', '!Select', '!Split'];
  return parse(readFileSync(file, 'utf8'), { customTags: [...['!GetAtt', '!Ref', '!Sub'].map(scalar), ...lists.map(list)] }) as Raw;
}

/** A template whose parameters have values. */
export class Template {
  private readonly pseudo: Record<string, unknown>;

  constructor(
    private readonly raw: Raw,
    stack: string,
    private readonly parameters: Values = {},
  ) {
    this.pseudo = {
      'AWS::StackName': stack,
      'AWS::Region': 'eu-west-1',
      'AWS::AccountId': '111122223333',
      'AWS::Partition': 'aws',
      'AWS::URLSuffix': 'amazonaws.com',
      'AWS::NoValue': GONE,
    };
  }

  /** Every resource whose condition holds. */
  resources(): Made[] {
    return Object.values(this.raw.Resources)
      .filter((r) => r.Condition === undefined || this.holds(r.Condition))
      .map((r) => ({ type: r.Type, deletion: r.DeletionPolicy, properties: this.value(r.Properties ?? {}) as Values }));
  }

  /** The outputs by name. */
  outputs(): Values {
    return this.value(this.raw.Outputs ?? {}) as Values;
  }

  private holds(condition: string): boolean {
    return this.value(this.raw.Conditions?.[condition]) === true;
  }

  private value(given: unknown): unknown {
    if (Array.isArray(given)) {
      return given.map((v) => this.value(v)).filter((v) => v !== GONE);
    }
    if (typeof given !== 'object' || given === null) {
      return given;
    }
    const [key, ...others] = Object.keys(given);
    if (others.length === 0 && key !== undefined && (key === 'Ref' || key === 'Condition' || key.startsWith('Fn::'))) {
      return this.call(key, (given as Values)[key]);
    }
    const entries = Object.entries(given).map(([k, v]): [string, unknown] => [k, this.value(v)]);
    return Object.fromEntries(entries.filter(([, v]) => v !== GONE));
  }

  private call(name: string, given: unknown): unknown {
    switch (name) {
      case 'Ref':
        return this.ref(given as string);
      case 'Condition':
        return this.holds(given as string);
      case 'Fn::GetAtt': {
        const [id, attribute] = given as [string, string];
        return `<${this.identity(id)}.${attribute}>`;
      }
      case 'Fn::Sub': {
        const filled = (given as string).replace(/\$\{(!?)([^}]+)\}/g, (_, literal: string, word: string) => {
          if (literal) {
            return `\${${word}}`;
          }
          const [id, attribute] = word.split(/\.(.*)/s);
          return String(attribute === undefined ? this.ref(word) : this.call('Fn::GetAtt', [id, attribute]));
        });
        return filled;
      }
      case 'Fn::If': {
        const [condition, yes, no] = given as [string, unknown, unknown];
        return this.value(this.holds(condition) ? yes : no);
      }
    }
    const [first, second, third] = this.value(given) as [unknown, unknown, unknown];
    switch (name) {
      case 'Fn::Join':
        return (second as unknown[]).join(first as string);
      case 'Fn::Split':
        return (second as string).split(first as string);
      case 'Fn::Equals':
        return String(first) === String(second);
      case 'Fn::Not':
        return !first;
      case 'Fn::FindInMap':
        return this.raw.Mappings?.[first as string]?.[String(second)]?.[third as string];
      default:
        throw new Error(`the comparison does not know ${name}`);
    }
  }

  private ref(name: string): unknown {
    if (name in this.pseudo) {
      return this.pseudo[name];
    }
    const parameter = this.raw.Parameters?.[name];
    return parameter ? (this.parameters[name] ?? parameter.Default) : `<${this.identity(name)}>`;
  }

  /** Type and name rather than a logical id, which the two templates choose differently. */
  private identity(id: string): string {
    const resource = this.raw.Resources[id];
    if (!resource) {
      throw new Error(`there is no resource ${id}`);
    }
    const type = resource.Type.replace('AWS::Serverless::', 'AWS::Lambda::');
    const name = NAMES.map((key) => resource.Properties?.[key]).find((n) => n !== undefined);
    return name === undefined ? type : `${type} ${String(this.value(name))}`;
  }
}
