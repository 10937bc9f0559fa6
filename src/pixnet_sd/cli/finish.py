"""Verify that all shards of a slide are there, and publish its map in the store.

Every tile is read back and compared with the checksum that was noted when it was computed. Where some are missing,
the shards they belong to are named, the store stays as it is, and the exit code is 2.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _slides

if TYPE_CHECKING:
    from pixnet_sd._sdata.elements import SpatialData

HELP = "verify and publish what shards have computed"
EXAMPLES = """\
examples:
  pixnet-sd finish a.zarr
  pixnet-sd finish *.zarr --shapes cells
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)
    parser.add_argument("--shapes", metavar="KEY", action="append", default=[], help="pool the map over these, too")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace tables of --shapes that are of something else"
    )


def run(asked: argparse.Namespace) -> int:
    return _slides.for_each(asked, partial(finish_slide, shapes=asked.shapes, overwrite=asked.overwrite))


def finish_slide(path: str, *, shapes: list[str], overwrite: bool) -> _slides.Facts:
    from pixnet_sd._sdata.elements import open_slide
    from pixnet_sd.cli._tables import maps_of, pool_tables, to_pool
    from pixnet_sd.tl._prediction import shards

    sdata = open_slide(path)
    waiting = maps_waiting(sdata)
    found = waiting or maps_of(sdata)
    key = single_map(found) if shapes and found else None
    wanted = [] if key is None else to_pool(sdata, shapes, key, remade=bool(waiting), overwrite=overwrite)
    maps = [] if found and not waiting else shards.finish_shards(sdata)
    tables = [] if key is None else pool_tables(sdata, wanted, key)
    return {"status": "done" if maps or tables else "already done", "maps": maps, "tables": tables}


def maps_waiting(sdata: SpatialData) -> list[str]:
    """Maps that shards left beside the store."""
    from pixnet_sd._sdata.storage.growing import key_of
    from pixnet_sd.tl._prediction import shards

    return [key_of(folder) for folder in shards.list_waiting(sdata)]


def single_map(maps: list[str]) -> str:
    if len(maps) > 1:
        raise PixnetValueError(
            f"--shapes needs to know one map, and there are {len(maps)}: {', '.join(map(repr, maps))}. Leave --shapes "
            "out, then pool each of them: pixnet-sd aggregate --shapes KEY --image MAP --table NAME."
        )
    return maps[0]
