"""What a prediction will do, settled before it begins: model, picture at its µm per pixel, raster, tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError, warn
from pixnet_sd._metrics.scores import RELIABLE
from pixnet_sd._raster.grid import PixelGrid, Tile, Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata import elements, images, maps, masks, units
from pixnet_sd.nn.device import one_thread_after_fork
from pixnet_sd.nn.inference import predict as nn_predict
from pixnet_sd.nn.model.model import Model

COARSER = 0.05
"""An image's pixels may be larger than the model's by this share without a word."""


@dataclass(frozen=True)
class PredictionPlan:
    """A model, and where it will be applied."""

    model: Model
    image_key: str
    picture: Picture
    """At the model's µm per pixel."""
    grid: PixelGrid
    """The raster of programs, in pixels of the image's finest level."""
    mpp: float
    """µm per pixel of the raster."""
    tissue: masks.Tissue | None
    how: nn_predict.InferenceConfig

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the raster (K, y, x)."""
        return len(self.model.loadings), *self.grid.shape

    @property
    def programs(self) -> list[str]:
        return [f"p{number}" for number in range(self.shape[0])]

    @property
    def plan(self) -> list[Tile]:
        """The tiles whose core has tissue."""
        return self.survey[0]

    @property
    def tissue_digest(self) -> str:
        """Of what is tissue in them, to notice labels that were edited."""
        return self.survey[1]

    @cached_property
    def survey(self) -> tuple[list[Tile], str]:
        kept, digest = [], hashlib.blake2b(digest_size=8)
        for tile in nn_predict.plan_tiles(self.model.network, self.picture, self.how):
            mask = self.on_tissue(self.window(tile))
            if mask.any():
                kept.append(tile)
                digest.update(repr(tile.core).encode() + np.packbits(mask).tobytes())
        if not kept:
            warn(f"No tissue is marked on image {self.image_key!r}, so every value is NaN.")
        return kept, digest.hexdigest()

    def window(self, tile: Tile) -> Window:
        return nn_predict.block_window(tile, self.model.network)

    def on_tissue(self, window: Window) -> np.ndarray:
        return np.ones(window.shape, bool) if self.tissue is None else self.tissue.on(window)

    def blocks(
        self, plan: Sequence[Tile], picture: Picture | None = None
    ) -> Generator[tuple[Window, np.ndarray], None, None]:
        """Windows of the raster and their programs, NaN outside the tissue, in the order of the plan."""
        for window, block in nn_predict.predict_blocks(self.model.network, picture or self.picture, plan, self.how):
            if self.tissue is not None:
                block[:, ~self.on_tissue(window)] = np.nan
            yield window, block

    def as_map(self, key: str, data: da.Array) -> maps.Map:
        loadings = maps.Loadings(self.model.loadings.astype(float), self.model.intercept.astype(float), self.members)
        return maps.Map(key, data, gene_table(self.model), loadings, self.model.unit, self.mpp)

    @property
    def members(self) -> np.ndarray:
        """Which member of the model each program belongs to."""
        owned = self.model.network.programs_of_members
        return np.repeat(np.arange(len(owned)), [own.stop - own.start for own in owned])

    @cached_property
    def sha256(self) -> str:
        return self.model.sha256

    def facts(self) -> dict[str, Any]:
        """What the result depends on, for its provenance; also what must not change between the parts of one result."""
        return {
            "image": self.image_key,
            "unit": self.model.unit,
            "mpp": self.mpp,
            "model": self.model.card.name,
            "sha256": self.sha256,
            "stride": self.model.network.stride,
            **asdict(self.how),
        }


def make_plan(
    sdata: SpatialData,
    image_key: str | None,
    model: Any,
    *,
    mpp: float | None,
    tissue_key: str | None,
    value_range: tuple[float, float] | None,
    allow_upsample: bool,
    device: str | None,
    tile_size: int | None,
    batch_size: int | None,
    augment: bool,
    compile: bool,
) -> PredictionPlan:
    one_thread_after_fork()
    key = elements.find_image_key(sdata, image_key)
    loaded = load_model(model)
    image_mpp = units.image_mpp(sdata, key) if mpp is None else check_given_mpp(sdata, key, mpp)
    check_resolution(key, image_mpp, loaded.mpp, allow_upsample=allow_upsample)
    image = images.read_rgb(sdata, key, value_range)
    picture, step = images.at_step(image, loaded.mpp / image_mpp)
    network = loaded.network
    coarse = picture.grid.coarsened(network.stride)
    grid = PixelGrid(coarse.height, coarse.width, (step[0] * network.stride, step[1] * network.stride))
    how = nn_predict.resolve_inference(
        network, device=device, tile_size=tile_size, batch_size=batch_size, augment=augment, compile=compile
    )
    tissue = masks.read_tissue(sdata, key, tissue_key, grid)
    return PredictionPlan(loaded, key, picture, grid, image_mpp * float(np.sqrt(np.prod(grid.step))), tissue, how)


def check_given_mpp(sdata: SpatialData, key: str, mpp: float) -> float:
    """What the caller says counts; where the object says otherwise, a warning tells."""
    source = "the argument mpp"
    found = units.check_mpp(key, source, mpp)
    units.warn_about_differences(key, {source: found, **units.stated_mpp(sdata, key)})
    return found


def load_model(model: Any) -> Model:
    if isinstance(model, Model):
        return model
    if model is None or isinstance(model, str | Path):
        return Model.load("default" if model is None else model)
    raise PixnetTypeError(
        f"model must be a pixnet_sd.Model, a folder, or a hub name; got {type(model).__name__}. "
        "Train one with pixnet_sd.tl.train, or load one with pixnet_sd.Model.load."
    )


def check_resolution(key: str, image_mpp: float, model_mpp: float, *, allow_upsample: bool) -> None:
    if image_mpp > model_mpp * (1 + COARSER) and not allow_upsample:
        raise PixnetValueError(
            f"Image {key!r} has {image_mpp:.4g} µm per pixel, the model reads {model_mpp:.4g}: it would look for "
            "detail that is not there. Use a finer scan or a coarser model, or pass allow_upsample=True to interpolate."
        )


def gene_table(model: Model) -> pd.DataFrame:
    """What is known of the model's genes: their ids, held-out scores, and what is added to them."""
    table = pd.DataFrame(index=pd.Index(model.genes))
    if model.ensembl is not None:
        table["ensembl"] = list(model.ensembl)
    if model.card.scores:
        table["score"] = [model.card.scores.get(gene, np.nan) for gene in model.genes]
        table["reliable"] = table["score"] >= RELIABLE
    if np.any(model.intercept):
        table["intercept"] = model.intercept.astype(float)
    return table
