"""Predict a map of gene expression for each slide, and put it into its store.

A slide that has this map already is left as it is, and so are tables that were pooled from it. Where the map is by
another model, of other pixels or tissue, or differs in --augment, it is refused without --overwrite. One that was
interrupted is resumed, so the same command may be repeated until all is done. With --shard, each process computes a
part of every slide, on as many machines as there are; nothing appears in a store until `pixnet-sd finish` has seen
that all parts are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import isclose, prod, sqrt
from typing import TYPE_CHECKING, Any

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd.cli import _slides

if TYPE_CHECKING:
    from pixnet_sd._sdata.elements import SpatialData
    from pixnet_sd.nn.model.model import Model
    from pixnet_sd.tl._prediction.options import PredictOptions
    from pixnet_sd.tl._prediction.output import MapOutput

SAME_MPP = 1e-6
"""µm per pixel that differ by this share are the same number."""
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
    parser.add_argument("--tissue", metavar="KEY", help="labels that mark tissue; {image}_tissue by default")
    parser.add_argument("--shapes", metavar="KEY", action="append", default=[], help="pool the map over these, too")
    parser.add_argument("--mpp", type=float, help="um per pixel of the image, where the store does not say it")
    parser.add_argument("--allow-upsample", action="store_true", help="interpolate an image coarser than the model's")
    parser.add_argument("--shard", type=parse_shard, metavar="I/N", help="compute part I of N only, counted from 1")
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the fastest there is')
    parser.add_argument("--tile-size", type=int, metavar="PX", help="side of what a tile keeps")
    parser.add_argument("--batch-size", type=int, metavar="N", help="tiles at once")
    parser.add_argument("--augment", action="store_true", help="average eight views of each tile; 8 x the time")
    parser.add_argument("--compile", action="store_true", help="let torch compile the network first, for large slides")
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
    from pixnet_sd.tl._prediction.options import PredictOptions
    from pixnet_sd.tl._prediction.plan import load_model

    request = PredictOptions(
        image_key=asked.image,
        mpp=asked.mpp,
        tissue_key=asked.tissue,
        allow_upsample=asked.allow_upsample,
        overwrite=asked.overwrite,
        device=asked.device,
        batch_size=asked.batch_size,
        tile_size=asked.tile_size,
        augment=asked.augment,
        compile=asked.compile,
    )
    work = partial(predict_slide, asked=asked, request=request, model=load_model(asked.model))
    return _slides.for_each(asked, work)


def predict_slide(path: str, *, asked: argparse.Namespace, request: PredictOptions, model: Model) -> _slides.Facts:
    from pixnet_sd._sdata.elements import open_slide
    from pixnet_sd.cli._tables import pool_tables, to_pool
    from pixnet_sd.tl._predict import predict_one
    from pixnet_sd.tl._prediction.shards import predict_shard

    sdata, bars = open_slide(path), _slides.shows_bars()
    key = map_key(sdata, request)
    there = not request.overwrite and is_there(sdata, key, request, model)
    if asked.shard is not None and not there:
        number, count = asked.shard
        tiles = predict_shard(sdata, request, model, number=number, count=count, progress=bars)
        return {"shard": f"{number}/{count}", "tiles": tiles}
    shapes = to_pool(sdata, asked.shapes, key, remade=not there, overwrite=request.overwrite)
    if not there:
        predict_one(sdata, request=request, model=model, resume=not asked.restart, inplace=True, progress=bars)
    tables = pool_tables(sdata, shapes, key)
    return {"status": "done" if tables or not there else "already done", "map": key, "tables": tables}


def map_key(sdata: SpatialData, request: PredictOptions) -> str:
    from pixnet_sd._sdata import elements
    from pixnet_sd.tl._prediction.output import names_for

    return names_for(elements.find_image_key(sdata, request.image_key), None).programs


def is_there(sdata: SpatialData, key: str, request: PredictOptions, model: Model) -> bool:
    """Whether the map that is asked for is in the store, and nothing of it waits beside; another one is an error."""
    from pixnet_sd._sdata.provenance import get_record
    from pixnet_sd._sdata.storage.growing import partial_folder

    made = get_record(sdata, key) if key in sdata.images else None
    if made is None or made.get("kind") != "programs" or partial_folder(sdata, key).exists():
        return False
    task = asked_of(sdata, request, model, made)
    if found := [*differences(made, task.made), *other_pixels(sdata, key, made, task)]:
        raise PixnetKeyError(
            f"{key!r} is in the store already and is not what is asked for now: {'; '.join(found)}. Add --overwrite to "
            "replace it, or repeat the options it was made with to keep it."
        )
    return True


def asked_of(sdata: SpatialData, request: PredictOptions, model: Model, made: Mapping[str, Any]) -> MapOutput:
    """The map to be made now, in tiles of the same size: the digest of the tissue depends on them."""
    from pixnet_sd.tl._prediction.output import MapOutput

    same_tiles = replace(request, tile_size=made.get("tile_px", request.tile_size))
    return MapOutput(sdata, same_tiles, same_tiles.job(sdata, model))


def differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """In words, of what changes the values of a map."""
    told = []
    if made["sha256"] != asked["sha256"]:
        told.append(
            f"it was made by the model {made['model']!r} ({made['sha256'][:8]}), not by {asked['model']!r} "
            f"({asked['sha256'][:8]})"
        )
    if made.get("augment", False) != asked["augment"]:
        told.append(f"it was made with{'' if made.get('augment') else 'out'} --augment")
    if made.get("tissue_digest") != asked["tissue_digest"]:
        told.append("other tissue was marked, or none, when it was made (--tissue)")
    return told


def other_pixels(sdata: SpatialData, key: str, made: Mapping[str, Any], task: MapOutput) -> list[str]:
    """In words, whether the image was taken to have another µm per pixel, which the map's place on it tells."""
    from pixnet_sd._sdata import affine

    before = made["mpp"] / affine.area_scale(affine.matrix_between(sdata, key, task.job.image_key))
    now = task.job.mpp / sqrt(prod(task.job.grid.step))
    same = isclose(before, now, rel_tol=SAME_MPP)
    return [] if same else [f"the image was taken to have {before:.4g} µm per pixel, not {now:.4g} (--mpp)"]
