"""Compute: maps of expression, tables for shapes."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "aggregate": "_aggregate",
        "check_alignment": "_check_alignment",
        "coverage": "_coverage",
        "embed": "_embed",
        "evaluate": "_evaluate",
        "expand": "_expand",
        "extend": "_extend",
        "finish": "_shards",
        "info": "_info",
        "intervals": "_intervals",
        "predict": "_predict",
        "predict_shapes": "_predict_shapes",
        "predict_shard": "_shards",
        "refine": "_refine",
        "train": "_train",
    },
)

if TYPE_CHECKING:
    from pixnet_sd.tl._aggregate import aggregate as aggregate
    from pixnet_sd.tl._check_alignment import check_alignment as check_alignment
    from pixnet_sd.tl._coverage import coverage as coverage
    from pixnet_sd.tl._embed import embed as embed
    from pixnet_sd.tl._evaluate import evaluate as evaluate
    from pixnet_sd.tl._expand import expand as expand
    from pixnet_sd.tl._extend import extend as extend
    from pixnet_sd.tl._info import info as info
    from pixnet_sd.tl._intervals import intervals as intervals
    from pixnet_sd.tl._predict import predict as predict
    from pixnet_sd.tl._predict_shapes import predict_shapes as predict_shapes
    from pixnet_sd.tl._refine import refine as refine
    from pixnet_sd.tl._shards import finish as finish
    from pixnet_sd.tl._shards import predict_shard as predict_shard
    from pixnet_sd.tl._train import train as train
