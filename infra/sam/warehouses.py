"""What the extractor may do at the warehouses of the list, as its own AWS role: exact actions on named resources.

Only warehouses that AWS itself guards need any: Redshift by its Data API, Athena. infra/cdk/lib/warehouses.ts does the same.
"""

import re

SETTINGS = {
    "redshift": {"name", "type", "workgroup", "cluster", "database", "unload"},
    "athena": {"name", "type", "workgroup", "databases", "data", "output"},
}
WRITES = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]


class Refused(Exception):
    """The list is not usable; the message is a sentence."""


def text(entry: dict, key: str, pattern: str, what: str, default: str | None = None) -> str:
    """A text of the entry."""
    value = entry.get(key, default)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refused(f"warehouse `{entry['name']}`: `{key}` is {what}, not {value!r}")
    return value


def folder(entry: dict, key: str, value: object) -> tuple[str, str]:
    """Bucket and prefix of an address in S3."""
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([A-Za-z0-9/_.=-]*)", value) if isinstance(value, str) else None
    if not found:
        raise Refused(f"warehouse `{entry['name']}`: `{key}` is a folder in S3, such as s3://bucket/prefix/, not {value!r}")
    prefix = found.group(2).rstrip("/")
    return found.group(1), f"{prefix}/*" if prefix else "*"


def here(service: str, rest: str) -> str:
    """An ARN in the stack's account and region."""
    return f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{rest}"


def s3(rest: str) -> str:
    """The ARN of a bucket or of what is in it."""
    return f"arn:${{AWS::Partition}}:s3:::{rest}"


def redshift(entry: dict, word: str) -> list[tuple]:
    """Statements of the Data API, and of the folder that results are unloaded into."""
    if ("workgroup" in entry) == ("cluster" in entry):
        raise Refused(f"warehouse `{entry['name']}`: it has a `workgroup`, by its ARN, or a `cluster` with its `database`")
    if "workgroup" in entry:
        workgroup = text(entry, "workgroup", r"arn:[a-z-]+:redshift-serverless:[a-z0-9-]+:[0-9]{12}:workgroup/[a-z0-9-]+", "the ARN of a workgroup")
        out = [(f"Execute{word}", ["redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"], [workgroup])]
    else:
        cluster = text(entry, "cluster", r"[a-z][a-z0-9-]*", "the name of a cluster")
        database = text(entry, "database", r"[A-Za-z0-9_$]+", "the name of a database")
        out = [
            (f"Execute{word}", ["redshift-data:ExecuteStatement"], [here("redshift", f"cluster:{cluster}")]),
            (f"Login{word}", ["redshift:GetClusterCredentialsWithIAM"], [here("redshift", f"dbname:{cluster}/{database}")]),
        ]
    # Statements have no ARN: those of this role, and no others.
    out.append((f"Own{word}", ["redshift-data:CancelStatement", "redshift-data:DescribeStatement", "redshift-data:GetStatementResult"], ["*"]))
    if "unload" in entry:
        bucket, prefix = folder(entry, "unload", entry["unload"])
        out.append((f"List{word}", ["s3:ListBucket"], [s3(bucket)]))
        out.append((f"Results{word}", ["s3:DeleteObject", "s3:GetObject"], [s3(f"{bucket}/{prefix}")]))
    return out


def athena(entry: dict, word: str) -> list[tuple]:
    """Queries, the catalogue, the tables' data, the folder of results."""
    workgroup = text(entry, "workgroup", r"[A-Za-z0-9._-]+", "the name of a workgroup", "primary")
    databases, data = entry.get("databases"), entry.get("data")
    for key, value in (("databases", databases), ("data", data)):
        if not isinstance(value, list) or not value:
            raise Refused(f"warehouse `{entry['name']}`: `{key}` is a list with at least one entry, not {value!r}")
    for name in databases:
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]+", name):
            raise Refused(f"warehouse `{entry['name']}`: `databases` are names of a-z, 0-9 and `_`, not {name!r}")
    output = folder(entry, "output", entry.get("output"))
    read = [folder(entry, "data", value) for value in data]
    buckets = list(dict.fromkeys([*(bucket for bucket, _ in read), output[0]]))
    queries = ["athena:GetQueryExecution", "athena:GetQueryResults", "athena:StartQueryExecution", "athena:StopQueryExecution"]
    tables = [here("glue", rest) for name in databases for rest in (f"database/{name}", f"table/{name}/*")]
    return [
        (f"Query{word}", queries, [here("athena", f"workgroup/{workgroup}")]),
        (f"Describe{word}", ["athena:GetTableMetadata"], [here("athena", "datacatalog/AwsDataCatalog")]),
        (f"Catalog{word}", ["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable"], [here("glue", "catalog"), *tables]),
        (f"List{word}", ["s3:GetBucketLocation", "s3:ListBucket"], [s3(bucket) for bucket in buckets]),
        (f"Data{word}", ["s3:GetObject"], [s3(f"{bucket}/{prefix}") for bucket, prefix in read]),
        (f"Results{word}", WRITES, [s3(f"{output[0]}/{output[1]}")]),
    ]


KINDS = {"athena": athena, "redshift": redshift}


def statements(entries: object) -> list[tuple]:
    """Statements of all warehouses: a Sid, actions, resources."""
    if not isinstance(entries, list):
        raise Refused(f"`warehouses` is a list, not {entries!r}")
    out: list[tuple] = []
    seen: set[str] = set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", entry["name"]):
            raise Refused(f"a warehouse is a mapping with a `name` of a-z, 0-9 and `-`, not {entry!r}")
        name, kind = entry["name"], entry.get("type")
        if kind not in KINDS:
            raise Refused(f"warehouse `{name}`: `type` is one of {', '.join(sorted(KINDS))}, not {kind!r}; others need no permission of AWS")
        unknown = set(entry) - SETTINGS[kind]
        if unknown:
            raise Refused(f"warehouse `{name}`: there is no setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(SETTINGS[kind]))}")
        word = "".join(part.capitalize() for part in name.split("-"))
        if word in seen:
            raise Refused(f"warehouses are too alike: two would be called {word}")
        seen.add(word)
        out.extend(KINDS[kind](entry, word))
    return out


def as_yaml(found: list[tuple]) -> str | None:
    """Statements as lines of the role's policy; none where there are none."""
    out = []
    for sid, actions, resources in found:
        written = [f"!Sub {value}" if "${" in value else f"'{value}'" for value in resources]
        out.append(f"              - Sid: {sid}\n                Effect: Allow\n                Action: [{', '.join(actions)}]\n                Resource:")
        out.extend(f"                  - {value}" for value in written)
        if resources == ["*"]:
            out.append("                Condition: { StringEquals: { 'redshift-data:statement-owner-iam-userid': '${aws:userid}' } }")
    return "\n".join(out) or None
