#!/usr/bin/env python3
"""Makes the SAM template out of the list of destinations.

    infra/sam/render.py                        writes infra/sam/template.yaml from infra/destinations.yaml
    infra/sam/render.py --check                fails when the template is not what the list gives
    infra/sam/render.py --list L --output T    another list, another template (CodeUri follows)

The parts in `parts/` are CloudFormation as one would write it, one file per station; this adds what the list, the
alarms (`../watch/alarms.yaml`) and the dashboard (`../watch/dashboard.yaml`) say. In a part, `%word%` is filled in, a
line that ends with `#? word` stands only when that word has a value, and `#each` repeats its line for each destination.

`Fn::ForEach` would leave out this program, but cannot give a destination settings of its own, nor do `sam build` and
`sam local` expand it everywhere. Needs PyYAML, which comes with the SAM CLI.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import yaml

import warehouses

HERE = Path(__file__).resolve().parent
INFRA = HERE.parent
ROOT = INFRA.parent
PARTS = ("parameters", "storage", "schedules", "extractor", "destination", "alerts")
SECTIONS = ("Parameters", "Mappings", "Conditions", "Resources", "Outputs")
SETTINGS = {"name", "concurrency", "rate", "batch", "timeout", "memory", "reserved"}
TAKEN = {"schedule", "extractor"}


class Refused(Exception):
    """The list of destinations is not usable; the message is a sentence."""


def number(entry: dict, key: str, default: int | None, least: int, most: int) -> int | None:
    """A whole number of the entry, within bounds."""
    value = entry.get(key, default)
    if value is None and default is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused(f"destination `{entry['name']}`: `{key}` is a whole number from {least} to {most}, not {value!r}")
    return value


def destination(entry: object) -> dict:
    """One entry of the list, checked and with its defaults. infra/cdk/lib/destinations.ts does the same."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise Refused(f"a destination is a mapping with a `name`, not {entry!r}")
    name = entry["name"]
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) or name.endswith(("-dlq", "-")) or name in TAKEN:
        raise Refused(
            f"destination `{name}`: a name is a-z, 0-9 and `-`, begins with a letter, has at most 32 characters, "
            f"does not end with `-` or `-dlq`, and is not one of {', '.join(sorted(TAKEN))}"
        )
    unknown = set(entry) - SETTINGS
    if unknown:
        raise Refused(f"destination `{name}`: there is no setting {', '.join(sorted(unknown))}; there are {', '.join(sorted(SETTINGS))}")
    rate = entry.get("rate")
    if rate is not None and not (isinstance(rate, str) and re.fullmatch(r"[1-9][0-9]*/[1-9][0-9]*(ms|s|m|h|d)", rate)):
        raise Refused(f"destination `{name}`: `rate` is requests in a time, such as 100/10s, not {rate!r}")
    concurrency = number(entry, "concurrency", None, 1, 1000)
    if concurrency is None:
        raise Refused(f"destination `{name}`: `concurrency` says how many writers work at once")
    timeout = number(entry, "timeout", 120, 30, 300)
    reserved = number(entry, "reserved", None, 1, 1000)
    return {
        "name": name,
        "id": "".join(word.capitalize() for word in name.split("-")),
        # An event source mapping knows no maximum below 2; one writer is one reserved execution.
        "maximum": max(concurrency, 2),
        "reserved": reserved if reserved is not None else (1 if concurrency == 1 else None),
        "rate": rate,
        "batch": number(entry, "batch", 5, 1, 10),
        "timeout": timeout,
        "visibility": 6 * timeout,
        # A claim outlasts the writer that made it, clocks that differ included.
        "claim": timeout + 30,
        "memory": number(entry, "memory", 256, 128, 10240),
    }


def read_list(path: Path) -> tuple[list[dict], str | None]:
    """The destinations of a file, and what its warehouses let the extractor do."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = set(data) if isinstance(data, dict) else set()
    if not {"destinations"} <= keys <= {"destinations", "warehouses"} or not isinstance(data["destinations"], list) or not data["destinations"]:
        raise Refused(f"{path} has a key `destinations`, with at least one entry, and none beside it but `warehouses`")
    out = [destination(entry) for entry in data["destinations"]]
    seen: dict[str, str] = {}
    for d in out:
        if d["id"] in seen:
            raise Refused(f"destinations `{seen[d['id']]}` and `{d['name']}` are too alike: CloudFormation would call both {d['id']}")
        seen[d["id"]] = d["name"]
    return out, warehouses.as_yaml(warehouses.statements(data.get("warehouses") or []))


def fill(text: str, words: dict) -> str:
    """Replaces %word% and keeps or drops optional lines."""
    out = []
    for line in text.splitlines():
        optional = re.search(r"\s*#\? (\w+)$", line)
        if optional:
            if words.get(optional.group(1)) is None:
                continue
            line = line[: optional.start()]
        out.append(re.sub(r"%([a-z-]+)%", lambda m: str(words[m.group(1)]) if m.group(1) in words else m.group(0), line))
    return "\n".join(out)


def repeat(text: str, destinations: list[dict]) -> str:
    """Repeats `#each` lines."""
    out = []
    for line in text.splitlines():
        each = re.match(r"(\s*)#each (.*)$", line)
        out.extend([fill(each.group(1) + each.group(2), d) for d in destinations] if each else [line])
    return "\n".join(out)


# ---- alarms and dashboard


def braces(text: str, d: dict | None) -> str:
    """`{word}` of the pages in watch/ as CloudFormation's `${…}`."""
    if d:
        text = text.replace("{destination}", d["name"])
    text = text.replace("{stack}", "${AWS::StackName}").replace("{table}", "${Table}")
    return re.sub(r"(?<!\$)\{([A-Z]\w+)\}", r"${\1}", text)


def each(page: list[dict], destinations: list[dict]) -> list[tuple[dict, dict | None]]:
    """Entries, those that speak of a destination once for each, grouped by destination."""
    own = [(e, None) for e in page if "{destination}" not in json.dumps(e)]
    return own + [(e, d) for d in destinations for e in page if "{destination}" in json.dumps(e)]


def sub(text: str) -> str:
    """A value that may hold `${…}`, as YAML."""
    whole = re.fullmatch(r"\$\{([\w:]+)\}", text)
    if whole:
        return f"!Ref {whole.group(1)}"
    return f"!Sub {json.dumps(text)}" if "${" in text else json.dumps(text)


def alarm(a: dict, d: dict | None) -> str:
    """One alarm as YAML."""
    name = braces(a["name"], d)
    logical = "".join(word.capitalize() for word in re.split(r"-", name)) + "Alarm"
    bound = a["over"] if "over" in a else a["under"]
    if isinstance(bound, dict):
        bound = f"!FindInMap [{bound['of']}, !Ref {bound['of']}, Alarm]"
    elif isinstance(bound, str):
        bound = sub(braces(bound, d))
    namespace, metric = a["of"].rsplit("/", 1)
    by = ", ".join(f"{{ Name: {key}, Value: {sub(braces(value, d))} }}" for key, value in a["by"].items())
    out = [
        f"  {logical}:",
        "    Type: AWS::CloudWatch::Alarm",
        "    Properties:",
        f"      AlarmName: !Sub ${{AWS::StackName}}-{name}",
        f"      AlarmDescription: {json.dumps(braces(a['says'], d))}",
        f"      Namespace: {namespace}",
        f"      MetricName: {metric}",
        f"      Dimensions: [{by}]",
        f"      Statistic: {a['stat']}",
        f"      Period: {a['period']}",
        f"      EvaluationPeriods: {a.get('times', 1)}",
        f"      ComparisonOperator: {'GreaterThanThreshold' if 'over' in a else 'LessThanThreshold'}",
        f"      Threshold: {bound}",
        f"      TreatMissingData: {a.get('missing', 'notBreaching')}",
        "      AlarmActions: [!Ref AlertTopic]",
        "      OKActions: [!Ref AlertTopic]",
    ]
    return "\n".join(out)


def widget(w: dict, destinations: list[dict]) -> dict:
    """One widget as CloudWatch reads it; it finds its own place on the page."""
    if "search" in w:
        what = f"{{Sluicegate,Destination,Stack,Sync}} MetricName=\"{w['search']}\" Stack=\"${{AWS::StackName}}\""
        metrics: list = [[{"expression": f"SEARCH('{what}', '{w['stat']}', 300)", "id": "by_sync", "label": "${!PROP('Dim.Sync')}"}]]
    else:
        metrics = []
        for line, d in each(w["lines"], destinations):
            dimensions = [part for key, value in line["by"].items() for part in (key, braces(value, d))]
            metrics.append([*line["of"].rsplit("/", 1), *dimensions, {"stat": line["stat"], "label": braces(line["label"], d)}])
    axis = {"left": {"min": 0, **({"label": w["unit"], "showUnits": False} if "unit" in w else {})}}
    properties = {"title": w["title"], "region": "${AWS::Region}", "view": "timeSeries", "period": 300, "metrics": metrics, "yAxis": axis}
    return {"type": "metric", "width": 12, "height": 6, "properties": properties}


def dashboard(destinations: list[dict]) -> str:
    """The dashboard's body: JSON, a widget to a line."""
    page = yaml.safe_load((INFRA / "watch" / "dashboard.yaml").read_text(encoding="utf-8"))
    widgets = ",\n".join("          " + json.dumps(widget(w, destinations)) for w in page["widgets"])
    return f'        {{"widgets": [\n{widgets}\n        ]}}'


# ---- the template


def sections(text: str) -> dict[str, str]:
    """A part by its top-level keys, as text, so that comments stay."""
    out: dict[str, list[str]] = {}
    here: list[str] = []
    for line in text.splitlines():
        key = re.fullmatch(r"(\w+):", line)
        if key:
            here = out.setdefault(key.group(1), [])
        else:
            here.append(line)
    return {key: "\n".join(lines).strip("\n") for key, lines in out.items()}


def render(list_path: Path, output: Path) -> str:
    """The whole template."""
    destinations, grants = read_list(list_path)
    alarms = yaml.safe_load((INFRA / "watch" / "alarms.yaml").read_text(encoding="utf-8"))["alarms"]
    statements = (HERE / "parts" / "function-statements.yaml").read_text(encoding="utf-8").rstrip("\n")
    common = {
        "code": os.path.relpath(ROOT, output.resolve().parent) + "/",
        "names": ",".join(d["name"] for d in destinations),
        "warehouses": grants,
        "dashboard": dashboard(destinations),
        "alarms": "\n\n".join(alarm(a, d) for a, d in each(alarms, destinations)),
    }
    gathered: dict[str, list[str]] = {key: [] for key in SECTIONS}
    for part in PARTS:
        text = repeat((HERE / "parts" / f"{part}.yaml").read_text(encoding="utf-8"), destinations)
        for d in destinations if part == "destination" else [None]:
            function = "${AWS::StackName}-" + (f"writer-{d['name']}" if d else "extractor")
            words = {**common, **(d or {}), "function-statements": fill(statements, {"function": function})}
            for key, body in sections(fill(text, words)).items():
                gathered[key].append(body)
    head = (
        "# Made by infra/sam/render.py from infra/destinations.yaml, infra/sam/parts and infra/watch. Change those, then run it again.\n"
        "AWSTemplateFormatVersion: '2010-09-09'\n"
        "Transform: AWS::Serverless-2016-10-31\n"
        "Description: Sluicegate - reverse ETL from the warehouse to the tools people work in.\n"
    )
    return head + "".join(f"\n{key}:\n" + ("\n" if key == "Outputs" else "\n\n").join(bodies) + "\n" for key, bodies in gathered.items())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Makes the SAM template out of the list of destinations.")
    parser.add_argument("--list", type=Path, default=INFRA / "destinations.yaml", help="the list of destinations")
    parser.add_argument("--output", type=Path, default=HERE / "template.yaml", help="the template to write")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the template is not up to date")
    options = parser.parse_args()
    try:
        text = render(options.list, options.output)
    except (Refused, warehouses.Refused, OSError, yaml.YAMLError) as what:
        print(f"render.py: {what}", file=sys.stderr)
        return 1
    if not options.check:
        options.output.write_text(text, encoding="utf-8")
    elif not options.output.exists() or options.output.read_text(encoding="utf-8") != text:
        print(f"render.py: {options.output} is not what {options.list} gives: run infra/sam/render.py and commit it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
