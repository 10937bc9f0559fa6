"""Plan of a prediction: the only reader of the object. Model, picture at the model's resolution, raster, tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd import __version__
from pixnet_sd._errors import PixnetTypeError, PixnetValueError, warn
from pixnet_sd._metrics.scores import RELIABLE
from pixnet_sd._raster.grid import PixelGrid, Tile, Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata import affine, elements, images, maps, masks, units
from pixnet_sd._settings import logger, settings
from pixnet_sd.nn.device import one_thread_after_fork
from pixnet_sd.nn.inference import predict as nn_predict
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction.options import PredictOptions

COARSER = 0.05
"""Share by which an image's pixels may be larger than the model's without an error."""


@dataclass(frozen=True)
class PredictionPlan:
    """A model, an image, and the tiles in which one is applied to the other."""

    model: Model
    options: PredictOptions
    """With the image, tissue, device, backend, tile size and batch size that were chosen, so that other machines choose
    the same."""
    picture: Picture
    """The image at the model's µm per pixel."""
    grid: PixelGrid
    """The raster of programs, in pixels of the image's finest level."""
    mpp: float
    """µm per pixel of the raster."""
    transformations: dict[str, Any]
    """Of the raster, for every coordinate system of the image."""
    stated: Any
    """µm per unit of the image's coordinate systems, where known."""
    tissue: masks.Tissue | None
    how: nn_predict.InferenceConfig

    @property
    def image_key(self) -> str:
        assert self.options.image_key is not None
        return self.options.image_key

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the raster (K, y, x)."""
        return len(self.model.loadings), *self.grid.shape

    @property
    def programs(self) -> list[str]:
        return [f"p{number}" for number in range(self.shape[0])]

    @cached_property
    def all_tiles(self) -> list[Tile]:
        """Tiles whose cores partition the image."""
        return nn_predict.plan_tiles(self.model.network, self.picture, self.how)

    @property
    def tiles(self) -> list[Tile]:
        """Tiles whose core has tissue; no other is read or computed."""
        return self.survey[0]

    @cached_property
    def survey(self) -> tuple[list[Tile], str | None]:
        """Find the tiles with tissue, and a digest of it, which changes if labels are edited; None if it is all."""
        kept, digest, everywhere = [], hashlib.blake2b(digest_size=8), True
        for tile in self.all_tiles:
            mask = self.on_tissue(self.window(tile))
            everywhere &= bool(mask.all())
            if mask.any():
                kept.append(tile)
                digest.update(repr(tile.core).encode() + np.packbits(mask).tobytes())
        if not kept:
            warn(
                f"There is no tissue on image {self.image_key!r}, so every value is NaN. Look for paler tissue with "
                "pp.tissue(sdata, sensitivity=2), or pass tissue_key=None to predict the whole image."
            )
        return kept, None if everywhere else digest.hexdigest()

    @cached_property
    def windows(self) -> dict[int, Window]:
        """Window of the raster that each tile fills."""
        return {number: self.window(tile) for number, tile in enumerate(self.tiles)}

    def window(self, tile: Tile) -> Window:
        return nn_predict.block_window(tile, self.model.network)

    def on_tissue(self, window: Window) -> np.ndarray:
        return np.ones(window.shape, bool) if self.tissue is None else self.tissue.on(window)

    def blocks(
        self, numbers: Sequence[int], *, progress: bool | None = None, picture: Picture | None = None
    ) -> Generator[tuple[Window, np.ndarray], None, None]:
        """Yield the window and the programs of these tiles in order, NaN off the tissue, with a progress bar.

        `picture` may stand in for the plan's own.
        """
        tiles = [self.tiles[number] for number in numbers]
        found = nn_predict.predict_blocks(self.model.network, picture or self.picture, tiles, self.how)
        hidden = not (settings.progress if progress is None else progress)
        with closing(found):  # also after an error: stops the threads that read ahead
            start = perf_counter()
            bar = tqdm(found, "predict", total=len(tiles), unit="tile", disable=hidden, leave=False)
            for number, (window, block) in enumerate(bar):
                if number == 0:
                    log_estimate(perf_counter() - start, len(tiles) / self.how.batch_size)
                if self.tissue is not None:
                    block[:, ~self.on_tissue(window)] = np.nan
                yield window, block

    def as_map(self, key: str, data: da.Array, genes: Sequence[str] | None = None) -> maps.Map:
        """Return pixels of programs as a map of all genes, or of some."""
        loadings = maps.Loadings(self.model.loadings.astype(float), self.model.intercept.astype(float), self.members)
        found = maps.Map(key, data, gene_table(self.model), loadings, self.model.unit, self.mpp)
        return found if genes is None else maps.select_genes_of(found, genes)

    @property
    def members(self) -> np.ndarray:
        """Member of the model that each program belongs to."""
        owned = self.model.network.programs_of_members
        return np.repeat(np.arange(len(owned)), [own.stop - own.start for own in owned])

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the programs depend on, for their provenance."""
        return {
            "kind": "programs",
            "tissue_digest": self.survey[1],
            "image": self.image_key,
            "unit": self.model.unit,
            "mpp": self.mpp,
            "model": self.model.card.name,
            "sha256": self.model.sha256,
            "stride": self.model.network.stride,
            **asdict(self.how),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between the parts of one raster."""
        asked = {"genes": self.options.genes, "shards": self.options.shards}
        return {**self.facts, "version": __version__, "grid": asdict(self.grid), **asked}


def log_estimate(first_s: float, batches: float) -> None:
    """Log how long all batches will take, by the first one, if that is more than a minute."""
    if (minutes := first_s * batches / 60) > 1:
        logger.info("about %.0f minutes for all tiles, by the first", minutes)


def make_plan(
    sdata: SpatialData,
    model: Model | str | Path | None,
    options: PredictOptions,
    tissue: masks.Tissue | None = None,
) -> PredictionPlan:
    """Read all that a prediction needs from the object, with tissue that another process found, if given."""
    one_thread_after_fork()
    key = elements.find_image_key(sdata, options.image_key)
    loaded = load_model(model)
    image_mpp = units.image_mpp(sdata, key) if options.mpp is None else check_given_mpp(sdata, key, options.mpp)
    check_resolution(key, image_mpp, loaded.mpp, allow_upsample=options.allow_upsample)
    picture, step = images.at_step(images.read_rgb(sdata, key, options.value_range), loaded.mpp / image_mpp)
    stride = loaded.network.stride
    coarse = picture.grid.coarsened(stride)
    grid = PixelGrid(coarse.height, coarse.width, (step[0] * stride, step[1] * stride))
    if tissue is None:
        tissue = masks.read_tissue(sdata, key, options.tissue_key, grid, image_mpp, options.value_range)
    how = nn_predict.resolve_inference(
        loaded.network,
        device=options.device,
        tile_size=options.tile_size,
        batch_size=options.batch_size,
        augment=options.augment,
        compile=options.compile,
        backend=options.backend,
    )
    return PredictionPlan(
        model=loaded,
        options=replace(
            options,
            image_key=key,
            tissue_key=None if tissue is None else tissue.key or masks.AUTO,
            device=how.device,
            tile_size=how.tile_px,
            batch_size=how.batch_size,
            backend=how.backend,
        ),
        picture=picture,
        grid=grid,
        mpp=image_mpp * float(np.sqrt(np.prod(grid.step))),
        transformations=affine.grid_transformations(sdata.images[key], grid),
        stated=units.um_per_unit(sdata, key),
        tissue=tissue,
        how=how,
    )


def check_given_mpp(sdata: SpatialData, key: str, mpp: float) -> float:
    """Check the caller's µm per pixel, which take precedence; warn where the object says otherwise."""
    source = "the argument mpp"
    found = units.check_mpp(key, source, mpp)
    units.warn_about_differences(key, {source: found, **units.stated_mpp(sdata, key)})
    return found


def load_model(model: Model | str | Path | None) -> Model:
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
    """Return what is known of the model's genes: ids, held-out scores, intercepts."""
    table = pd.DataFrame(index=pd.Index(model.genes))
    if model.ensembl is not None:
        table["ensembl"] = list(model.ensembl)
    if model.card.scores:
        table["score"] = [model.card.scores.get(gene, np.nan) for gene in model.genes]
        table["reliable"] = table["score"] >= RELIABLE
    if np.any(model.intercept):
        table["intercept"] = model.intercept.astype(float)
    return table
