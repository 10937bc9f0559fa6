"""Verify that all shards of a slide are there, and publish its map in the store.

Every tile is read back and compared with the checksum that was noted when it was computed. Where some are missing,
the shards they belong to are named, the store stays as it is, and the exit code is 2.
"""

from __future__ import annotations

import argparse
from functools import partial

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _slides
from pixnet_sd.cli._tables import check_tables, find_maps, write_tables

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
    import pixnet_sd as ps

    sdata = _slides.open_slide(path)
    info = ps.tl.info(sdata)
    waiting = info.attrs["shards"]
    found = waiting or find_maps(info)
    key = single_map(found) if shapes and found else None
    check_tables(sdata, shapes, key, overwrite=overwrite)
    maps = [] if found and not waiting else ps.tl.finish(sdata)
    tables = [] if key is None else write_tables(sdata, shapes, key, overwrite=overwrite)
    return {"status": "done" if maps or tables else "already done", "maps": maps, "tables": tables}


def single_map(maps: list[str]) -> str:
    if len(maps) > 1:
        raise PixnetValueError(
            f"--shapes needs to know one map, and there are {len(maps)}: {', '.join(map(repr, maps))}. Leave --shapes "
            "out, then aggregate each of them: pixnet-sd aggregate --shapes KEY --raster MAP --table NAME."
        )
    return maps[0]
