"""The command line: each command is a file of its own, and nothing heavy is imported before one runs.

Exit codes: 0, all is done; 2, something that was asked cannot be done, told in one line; 130, interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from pixnet_sd import __version__
from pixnet_sd._errors import PixnetError
from pixnet_sd.cli import _messages

COMMANDS = ("demo", "run", "predict", "finish", "aggregate", "evaluate", "info", "models", "train")
EXAMPLES = """\
examples:
  pixnet-sd demo                                   the whole way on synthetic tissue, with pictures
  pixnet-sd info slide.zarr                        what is in it
  pixnet-sd run slides/*.svs --model default --out results
  pixnet-sd predict *.zarr --model my_model --shapes cells
  pixnet-sd predict --help                         each command has its own examples
"""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = build_parser().parse_args(arguments)
    with _messages.in_one_line():
        try:
            code: int = asked.run(asked)
        except (PixnetError, OSError) as error:
            _messages.print_error(error)
            return 2
        except KeyboardInterrupt:
            print("pixnet-sd: interrupted; what is done is kept, and the same command resumes it", file=sys.stderr)
            return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pixnet-sd",
        description="Dense maps of gene expression from H&E images in SpatialData stores.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pixnet-sd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in COMMANDS:
        command = import_module(f"pixnet_sd.cli.{name}")
        one = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser
