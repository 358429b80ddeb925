#!/usr/bin/env python3
"""Prints the SAM template as CloudFormation gets to see it: `AWS::Serverless::*` expanded by aws-sam-translator.

    infra/sam/expand.py [TEMPLATE]     the template as JSON, with its defaults for parameters

cfn-lint then sees what it cannot see inside of `AWS::Serverless::*`, a wrong enumeration value for one. Nothing is
uploaded, nothing asked of AWS: the code is said to be in a bucket that nobody looks for.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")  # the translator asks for a region, and only for its partition

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402


class NoPolicies:
    """Names of managed policies are looked up in IAM; the template uses none."""

    def load(self) -> dict:
        """No policies."""
        return {}


def main() -> int:
    """The command."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "template.yaml"
    template = yaml_parse(path.read_text(encoding="utf-8"))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
            # Build instructions are for `sam build`, which takes them out as well.
            resource.pop("Metadata", None)
    json.dump(transform(template, {}, NoPolicies()), sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
