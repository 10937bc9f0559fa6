"""Find artifacts on an H&E image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._raster import quality as measures
from pixnet_sd._raster.grid import PixelGrid, Tile, make_tiles
from pixnet_sd._raster.picture import Picture
from pixnet_sd._raster.quality import BLOCK_PX, TileQuality, block_means, judge_tiles, measure_blocks
from pixnet_sd._sdata import affine, build, elements, images, units
from pixnet_sd._sdata.masks import Tissue, read_labels_as_tissue
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._settings import logger, settings
from pixnet_sd.pp._tissue import tissue

COARSEST_MPP = 1.0
"""On coarser images the band that tells focus is not there."""
TISSUE_PX = 8
"""Pixels per pixel of tissue that is looked up: 8 µm, as pp.tissue has it."""
READ_PX = 1024
WORKERS = 2
"""Pieces of `READ_PX` a side at once: a tenth of a gigabyte each."""
LARGEST_TILE_UM = 1024.0


@overload
def quality(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    tile_um: float = ...,
    tissue_key: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> AnnData: ...


@overload
def quality(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    tile_um: float = ...,
    tissue_key: str | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...


def quality(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    tile_um: float = 64.0,
    tissue_key: str | None = None,
    value_range: tuple[float, float] | None = None,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
    progress: bool | None = None,
) -> AnnData | None:
    """Find tissue that is out of focus, folded, or covered by pen or dirt, tile by tile.

    The image is looked at with 1 µm per pixel. ``blurred`` compares details of 1 and 2 µm, so a blur of 1.4 µm (sigma)
    or more is found. ``pen`` is any color that no mixture of hematoxylin and eosin has; brown pigment is among it.
    ``gray`` is what has no color, such as black ink, dust and rims of bubbles. ``fold`` is what is twice as dense as
    the section's median, so folds of pale tissue are missed, and very dense tissue is among it.

    Parameters
    ----------
    sdata
        SpatialData object with the image.
    image_key
        Key of the H&E image. Optional if the object has exactly one image.
    tile_um
        Side of the tiles in µm, a multiple of 16.
    tissue_key
        Key of the tissue labels. Default: ``"{image}_tissue"``; if there are none, :func:`tissue` finds them.
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8, e.g. ``(0, 65535)``.
    key_added
        Key of the new labels, from which the other two names follow. Default: ``"{image}_quality"``.
    overwrite
        Whether to replace existing results.
    inplace
        Whether to add the results to the object or return the table.
    progress
        Whether to show a progress bar. Default: ``ps.settings.progress``.

    Returns
    -------
    The table if ``inplace=False``, otherwise `None`. Added are

    - ``labels["{image}_quality"]``: tiles with tissue, numbered from 1;
    - ``tables["{image}_quality_tiles"]``: a row for each of them. ``X`` is the share of its tissue that is ``blurred``,
      ``fold``, ``pen`` and ``gray``; ``obs`` has the share of ``tissue``, the ``sharpness`` and the ``artifact`` that
      stands out, or ``"none"``;
    - ``labels["{image}_quality_clean"]``: 1 on tissue in tiles without artifacts, at 16 µm per pixel, to be passed
      as `tissue_key`.

    Raises
    ------
    PixnetValueError
        If the image is coarser than 1 µm per pixel, or has no tissue.

    See Also
    --------
    pixnet_sd.tl.predict : Pass ``tissue_key="he_quality_clean"`` to leave artifacts out of the map.
    pixnet_sd.pl.report : Show what was found.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> ps.pp.quality(sdata)
    >>> sdata["he_quality_tiles"].obs["artifact"].value_counts().to_dict()["none"]
    16
    """
    key = elements.find_image_key(sdata, image_key)
    name = key_added or f"{key}_quality"
    names = {name: "labels", f"{name}_clean": "labels", f"{name}_tiles": "tables"}
    if inplace:
        check_results(sdata, names, overwrite=overwrite)
    plan = plan_blocks(sdata, key, value_range, tissue_key)
    side = blocks_per_tile(tile_um)
    blocks = measure_all(plan, progress)
    tiles = judge_tiles(blocks, side)
    table = make_tile_table(tiles, name, plan, side)
    report_artifacts(key, table)
    if not inplace:
        return table
    results = {**make_tile_labels(sdata, key, tiles, blocks[0], plan, name, side), f"{name}_tiles": table}
    facts = {"kind": "quality", "image": key, "tile_um": float(tile_um), "tissue": plan.tissue_name}
    attach(sdata, results, dict.fromkeys(results, facts), overwrite=overwrite)
    return None


@dataclass(frozen=True)
class BlockPlan:
    """Where blocks are measured."""

    picture: Picture
    step: tuple[float, float]
    """Size of a pixel of the picture (x, y) in pixels of the image."""
    tissue: Tissue
    """Labels as seen from pixels that are `TISSUE_PX` times larger than the picture's."""
    tissue_name: str | None
    """Key of the labels; None if they were found here."""

    @property
    def grid(self) -> PixelGrid:
        """Return the grid of blocks over the image."""
        height, width = self.picture.grid.shape
        return PixelGrid(height, width, self.step).coarsened(BLOCK_PX)


def plan_blocks(
    sdata: SpatialData, key: str, value_range: tuple[float, float] | None, tissue_key: str | None
) -> BlockPlan:
    mpp = units.image_mpp(sdata, key)
    if mpp > COARSEST_MPP * (1 + 1e-6):
        raise PixnetValueError(
            f"Image {key!r} has {mpp:.3g} µm per pixel; focus can be told up to {COARSEST_MPP:g}. Use the finer scan."
        )
    picture, step = images.at_step(images.read_rgb(sdata, key, value_range), measures.MPP / mpp)
    to_source = np.diag([step[0] * TISSUE_PX, step[1] * TISSUE_PX, 1.0])
    name = tissue_key or default_tissue_key(key)
    if name in sdata.labels:
        return BlockPlan(picture, step, read_labels_as_tissue(sdata, name, key, to_source), name)
    if tissue_key is not None:
        resolve_key("labels", tissue_key, sdata.labels, "tissue_key")
    found = tissue(sdata, key, value_range=value_range, inplace=False)
    labels = SpatialData.init_from_elements({key: sdata.images[key], name: found})
    return BlockPlan(picture, step, read_labels_as_tissue(labels, name, key, to_source), None)


def blocks_per_tile(tile_um: float) -> int:
    block_um = BLOCK_PX * measures.MPP
    if not (block_um <= tile_um <= LARGEST_TILE_UM and tile_um % block_um == 0):
        raise PixnetValueError(
            f"tile_um={tile_um!r} must be a multiple of {block_um:g} µm, from {block_um:g} to {LARGEST_TILE_UM:g}."
        )
    return round(tile_um / block_um)


def measure_all(plan: BlockPlan, progress: bool | None) -> np.ndarray:
    """Compute (measures, y, x) of all blocks; zeros where there is no tissue."""
    blocks = np.zeros((len(measures.MEASURES), *plan.grid.shape), np.float32)
    pieces = list(make_tiles(*plan.picture.grid.shape, size=READ_PX, stride=BLOCK_PX))
    hidden = not (settings.progress if progress is None else progress)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1), "quality") as pool:
        found = pool.map(partial(measure_piece, plan), pieces)
        for piece, values in tqdm(
            zip(pieces, found, strict=True), "quality", total=len(pieces), unit="tile", disable=hidden, leave=False
        ):
            place = piece.core.coarsened(BLOCK_PX)
            blocks[:, *place.slices] = values[:, : place.height, : place.width]
    return blocks


def measure_piece(plan: BlockPlan, piece: Tile) -> np.ndarray:
    on = plan.tissue.on(piece.read.coarsened(TISSUE_PX))
    share = block_means(on.astype(np.float32), BLOCK_PX // TISSUE_PX)
    if not share.any():
        return np.zeros((len(measures.MEASURES), *share.shape), np.float32)
    return measure_blocks(plan.picture, piece.read, share)


def make_tile_table(tiles: TileQuality, name: str, plan: BlockPlan, side: int) -> AnnData:
    rows, columns = np.nonzero(tiles.judged)
    if not len(rows):
        raise PixnetValueError(f"No tissue was found for {name!r}, and a table cannot be empty. Check the labels.")
    numbers = pd.RangeIndex(1, len(rows) + 1)
    values = np.stack([share[rows, columns] for share in tiles.shares.values()], axis=1)
    kinds = ["none", *tiles.shares]
    obs = {
        "array_row": rows,
        "array_col": columns,
        "tissue": tiles.tissue[rows, columns].astype(np.float32),
        "sharpness": tiles.sharpness[rows, columns],
        "artifact": pd.Categorical(tiles.artifact[rows, columns], kinds),
    }
    spatial = (np.column_stack([columns, rows]) + 0.5) * side * BLOCK_PX * measures.MPP
    return build.make_table(values, pd.DataFrame(index=kinds[1:]), name, numbers, obs=obs, spatial=spatial)


def report_artifacts(key: str, table: AnnData) -> None:
    """Log the share of tissue with each artifact; warn if most of it has one."""
    weights = table.obs["tissue"].to_numpy()
    shares = {name: weights[table.obs["artifact"] == name].sum() / weights.sum() for name in table.var_names}
    found = ", ".join(f"{share:.1%} {name}" for name, share in shares.items())
    logger.info("tissue of %r: %s", key, found)
    if sum(shares.values()) > 0.5:
        warn(f"Most of the tissue on image {key!r} has artifacts: {found}. Look at it before its map is believed.")


def make_tile_labels(
    sdata: SpatialData, key: str, tiles: TileQuality, tissue_share: np.ndarray, plan: BlockPlan, name: str, side: int
) -> Mapping[str, Any]:
    """Make the numbered tiles, and the tissue without artifacts."""
    numbers = np.where(tiles.judged, np.cumsum(tiles.judged).reshape(tiles.judged.shape), 0)
    usable = (tiles.judged & (tiles.artifact == "none")).repeat(side, axis=0).repeat(side, axis=1)
    height, width = tissue_share.shape
    clean = usable[:height, :width] & (tissue_share >= 0.5)
    places = [affine.grid_transformations(sdata.images[key], grid) for grid in (plan.grid.coarsened(side), plan.grid)]
    return {
        name: build.make_labels(numbers.astype("uint32"), places[0]),
        f"{name}_clean": build.make_labels(clean.astype("uint8"), places[1]),
    }
