"""The whole way on real tissue: predict, find nuclei, aggregate, cluster, compare, draw. About three minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the whole way on real tissue, with pictures"
EXAMPLES = """\
example:
  pixnet-sd demo my_folder
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="demo", help='where the pictures go; "demo" by default')


def run(asked: argparse.Namespace) -> int:
    from pixnet_sd import demo

    demo.main(Path(asked.folder))
    return 0
