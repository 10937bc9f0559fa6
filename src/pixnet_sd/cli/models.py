"""List the models that come with the package."""

from __future__ import annotations

import argparse

from pixnet_sd._errors import one_line

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
    print(table.to_json(orient="index") if asked.json else table.T.map(one_line).to_string())
    return 0
