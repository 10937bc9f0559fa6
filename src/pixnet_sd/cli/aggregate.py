"""Pool a raster over shapes by exact area coverage, and put the table into the store."""

from __future__ import annotations

import argparse
from functools import partial

from pixnet_sd.cli import _slides
from pixnet_sd.cli._tables import table_name

HELP = "a table for shapes from a map, or from any image"
EXAMPLES = """\
examples:
  pixnet-sd aggregate a.zarr --shapes cells
  pixnet-sd aggregate a.zarr --shapes cells --raster he --statistic mean --table cells_color
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)
    parser.add_argument("--shapes", metavar="KEY", help="polygons or circles; may be left out when there is one")
    parser.add_argument("--raster", metavar="KEY", help="the raster; by default the only predicted map")
    parser.add_argument("--statistic", help="sum, mean, min, max, std, median; by default what the unit allows")
    parser.add_argument("--genes", nargs="+", metavar="GENE", help="by default all")
    parser.add_argument("--table", metavar="KEY", help="name of the table; {shapes}_expression by default")
    parser.add_argument("--overwrite", action="store_true", help="replace a table of that name")


def run(asked: argparse.Namespace) -> int:
    return _slides.for_each(asked, partial(aggregate_slide, asked=asked))


def aggregate_slide(path: str, *, asked: argparse.Namespace) -> _slides.Facts:
    import pixnet_sd as ps

    sdata = _slides.open_slide(path)
    ps.tl.aggregate(
        sdata,
        asked.shapes,
        raster_key=asked.raster,
        statistic=asked.statistic,
        genes=asked.genes,
        key_added=asked.table,
        overwrite=asked.overwrite,
        progress=_slides.shows_bars(),
    )
    name = asked.table or table_name(asked.shapes or next(iter(sdata.shapes)))
    return {"table": name, "rows": sdata.tables[name].n_obs, "genes": sdata.tables[name].n_vars}
