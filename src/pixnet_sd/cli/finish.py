"""Verify that all shards of a slide are there, and publish its map in the store.

Every tile is read back and compared with the checksum that was noted when it was computed. Where some are missing,
the shards they belong to are named, the store stays as it is, and the exit code is 2.
"""

from __future__ import annotations

import argparse
from functools import partial

from pixnet_sd.cli import _slides

HELP = "verify and publish what shards have computed"
EXAMPLES = """\
examples:
  pixnet-sd finish a.zarr
  pixnet-sd finish *.zarr --shapes cells
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)
    parser.add_argument("--shapes", metavar="KEY", action="append", default=[], help="pool the map over these, too")


def run(asked: argparse.Namespace) -> int:
    return _slides.for_each(asked, partial(finish, shapes=asked.shapes))


def finish(path: str, *, shapes: list[str]) -> _slides.Facts:
    from pixnet_sd._sdata.opening import open_slide
    from pixnet_sd.cli._tables import maps_of, pool
    from pixnet_sd.tl import _shards

    sdata = open_slide(path)
    if not _shards.waiting(sdata) and maps_of(sdata):
        tables = pool(sdata, shapes, None, overwrite=False)
        return {"status": "done" if tables else "already done", "tables": tables}
    maps = _shards.finish(sdata)
    return {"maps": maps, "tables": pool(sdata, shapes, None if len(maps) > 1 else maps[0], overwrite=True)}
