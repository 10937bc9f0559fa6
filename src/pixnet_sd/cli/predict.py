"""Predict a map of gene expression for each slide, and put it into its store.

A slide that has this map already is left as it is, and so are tables that were pooled from it. Where the map is by
another model, of other pixels or tissue, or differs in --augment, it is refused without --overwrite. One that was
interrupted is resumed, so the same command may be repeated until all is done. With --shard, each process computes a
part of every slide, on as many machines as there are; nothing appears in a store until `pixnet-sd finish` has seen
that all parts are there.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _slides
from pixnet_sd.cli._tables import check_tables, find_maps, write_tables

if TYPE_CHECKING:
    import pandas as pd

    from pixnet_sd import Model

OPTIONS = ("allow_upsample", "overwrite", "device", "batch_size", "tile_size", "augment", "compile", "backend")
"""Options that are called here as in `tl.predict`."""
HELP = "map the expression of genes, on one machine or many"
EXAMPLES = """\
examples:
  pixnet-sd predict a.zarr b.zarr --model my_model
  pixnet-sd predict a.zarr --model my_model --shapes cells --shapes spots
  pixnet-sd predict a.zarr --model my_model --shard 3/8      the third of eight; then, once: pixnet-sd finish a.zarr
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)
    parser.add_argument("--model", required=True, help='a folder, "default", or "hf-hub:org/name@revision"')
    parser.add_argument("--image", metavar="KEY", help="the H&E image; may be left out when there is one")
    parser.add_argument(
        "--tissue",
        metavar="KEY",
        default="auto",
        help='labels of the tissue; else {image}_tissue, or what is found; or "none"',
    )
    parser.add_argument("--shapes", metavar="KEY", action="append", default=[], help="pool the map over these, too")
    parser.add_argument("--mpp", type=float, help="um per pixel of the image, where the store does not say it")
    parser.add_argument("--allow-upsample", action="store_true", help="interpolate an image coarser than the model's")
    parser.add_argument("--shard", type=parse_shard, metavar="I/N", help="compute part I of N only, counted from 1")
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the fastest there is')
    parser.add_argument("--tile-size", type=int, metavar="PX", help="side of what a tile keeps")
    parser.add_argument("--batch-size", type=int, metavar="N", help="tiles at once")
    parser.add_argument("--augment", action="store_true", help="average eight views of each tile; 8 x the time")
    parser.add_argument("--compile", action="store_true", help="let torch compile the network first, for large slides")
    parser.add_argument("--backend", help='"torch", "openvino", or "auto": OpenVINO on a CPU where it is installed')
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--restart", action="store_true", help="begin anew instead of resuming")


def parse_shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, e.g. 3/8")
    return int(number), int(count)


def run(asked: argparse.Namespace) -> int:
    if asked.shard is not None and (asked.shapes or asked.restart):
        raise PixnetValueError("--shard computes a part: give --shapes to finish, and begin anew without --shard.")
    import pixnet_sd as ps

    return _slides.for_each(asked, partial(predict_slide, asked=asked, model=ps.Model.load(asked.model)))


def predict_slide(path: str, *, asked: argparse.Namespace, model: Model) -> _slides.Facts:
    import pixnet_sd as ps

    sdata, bars = _slides.open_slide(path), _slides.shows_bars()
    info = ps.tl.info(sdata)
    key = map_key(info, asked.image)
    there = not asked.overwrite and key in find_maps(info) and key not in info.attrs["unfinished"]
    check_tables(sdata, asked.shapes, key, overwrite=asked.overwrite)
    options = {option: getattr(asked, option) for option in OPTIONS}
    tissue = None if asked.tissue.lower() == "none" else asked.tissue
    how = {"model": model, "mpp": asked.mpp, "tissue_key": tissue, "exist_ok": True, "progress": bars, **options}
    if asked.shard is not None and not there:
        number, count = asked.shard
        tiles = ps.tl.predict_shard(sdata, asked.image, number=number, shards=count, **how)
        return {"shard": f"{number}/{count}", "tiles": tiles}
    ps.tl.predict(sdata, asked.image, resume=not asked.restart, **how)
    tables = write_tables(sdata, asked.shapes, str(key), overwrite=asked.overwrite)
    return {"status": "done" if tables or not there else "already done", "map": key, "tables": tables}


def map_key(info: pd.DataFrame, image_key: str | None) -> str | None:
    """Return the name that the map will have; None where several images leave the choice to `predict`."""
    images = [image_key] if image_key else list(info.index[(info["kind"] == "images") & info["made"].isna()])
    return f"{images[0]}_programs" if len(images) == 1 else None
