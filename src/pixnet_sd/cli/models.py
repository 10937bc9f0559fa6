"""List the models that come with the package."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping

from pixnet_sd._errors import one_line

WIDTH = 100
HELP = "the models that come with the package"
EXAMPLES = """\
examples:
  pixnet-sd models
  pixnet-sd models --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(asked: argparse.Namespace) -> int:
    import pixnet_sd as ps

    table = ps.models()
    described = [describe_model(str(name), row) for name, row in table.iterrows()]
    print(table.to_json(orient="index") if asked.json else "\n\n".join(described))
    return 0


def describe_model(name: str, facts: Mapping) -> str:
    rounded = {key: f"{fact:.3g}" if isinstance(fact, float) else str(fact) for key, fact in facts.items()}
    lines = [one_line(f"{key}: {fact}") for key, fact in rounded.items()]
    wrapped = [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]
    return "\n".join([name, *wrapped])
