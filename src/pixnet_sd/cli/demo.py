"""The whole way on synthetic tissue: train, predict, aggregate, cluster, draw. About a minute."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "the whole way on synthetic tissue, with pictures"
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
