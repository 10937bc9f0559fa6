"""From a raster to a table: one row for each shape, by exact area coverage."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._aggregate import Pooled
from pixnet_sd._aggregate import aggregate as pool
from pixnet_sd._errors import PixnetValueError, PixnetWarning
from pixnet_sd._grid import PixelGrid
from pixnet_sd._keys import expression_key
from pixnet_sd._sdata import build, elements, maps, placement, store

LINEAR = ("sum", "mean")
"""Statistics that commute with loadings."""
LITTLE_OVERLAP = 0.5


def aggregate(
    sdata: SpatialData,
    shapes_key: str | None = None,
    *,
    image_key: str | None = None,
    statistic: str | None = None,
    quantile: float = 0.5,
    genes: Sequence[str] | None = None,
    coordinate_system: str | None = None,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
    progress: bool | None = None,
) -> Any:
    """Aggregate a raster over shapes, weighting each pixel by the exact share that a shape covers.

    Works for any image element: a map that was predicted, a mask, a stain, a signal of another tool. A predicted
    map is pooled as programmes and then multiplied by its loadings, which is exact and costs the same for ten genes or
    ten thousand. The raster is read in blocks, each once; shapes may overlap, have holes, be smaller than a pixel.

    Parameters
    ----------
    sdata
        The object that holds both.
    shapes_key
        Polygons or circles; may be left out when there is one element.
    image_key
        The raster. By default the only predicted map, or else the only image.
    statistic
        ``"sum"`` (coverage x value, the default), ``"mean"``, ``"min"``, ``"max"``, ``"std"``, ``"median"`` or
        ``"quantile"``, each weighted by coverage. A raster in counts per µm² is multiplied by the pixel's area, so its
        sums are expected counts. Log expression can only be averaged, and is by default.
    quantile
        Which one ``statistic="quantile"`` takes, from 0 to 1.
    genes
        Channels or genes to aggregate; by default all.
    coordinate_system
        The coordinate system in which the two lie over each other; only needed where several disagree.
    key_added
        Name of the table; ``"{shapes}_expression"`` by default.
    overwrite
        Replace a table of that name.
    inplace
        Add the table to the object. Otherwise it is returned.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    If ``inplace=False`` the table, else None. Every shape has its row, in the order of the element.
    ``obs["coverage"]`` is the share of its area that has values; where that is 0, the row is NaN.
    ``obsm["spatial"]`` holds centroids, in µm where the raster's µm per pixel are known, otherwise in pixels.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.aggregate(sdata, "cells", image_key="he", statistic="mean")
    >>> sdata.tables["cells_expression"].var_names.tolist()
    ['r', 'g', 'b']
    """
    raster = maps.read_map(sdata, image_key, genes)
    key = elements.shapes_key(sdata, shapes_key)
    name = key_added or expression_key(key)
    statistic = check_statistic(statistic, raster)
    if inplace:
        store.check(sdata, [name], overwrite=overwrite)
    grid = PixelGrid(*raster.data.shape[-2:])
    placed = placement.read_shapes(sdata, key, raster.key, grid, coordinate_system)
    check_overlap(placed, grid, raster.key)
    values, pooled = compute(raster, placed, statistic, quantile, progress)
    facts = provenance(raster, key, statistic, quantile)
    table = to_table(values, pooled, raster, placed, facts)
    if not inplace:
        return table
    store.attach(sdata, {name: table}, {name: {"kind": "table", **facts}}, overwrite=overwrite)
    return None


def check_statistic(statistic: str | None, raster: maps.Map) -> str:
    if statistic is None:
        return "mean" if raster.unit == maps.LOG else "sum"
    if statistic == "sum" and raster.unit == maps.LOG:
        raise PixnetValueError(
            f"statistic='sum' was asked of {raster.key!r}, which holds log expression; logs do not add up. "
            "Use statistic='mean', or a model of rates."
        )
    return statistic


def check_overlap(placed: placement.PlacedShapes, grid: PixelGrid, raster_key: str) -> None:
    """Shapes that miss the raster are the commonest silent error: none over it is an error, few are a warning."""
    x0, y0, x1, y1 = placed.shapes.bounds.T
    over = (x1 > 0) & (y1 > 0) & (x0 < grid.width) & (y0 < grid.height)
    real = placed.shapes.area > 0
    share = over[real].mean() if real.any() else 1.0
    where = f"{share:.0%} of the shapes {placed.key!r} lie over the raster {raster_key!r}"
    if share == 0:
        low, high = np.nanmin(placed.shapes.bounds[:, :2], axis=0), np.nanmax(placed.shapes.bounds[:, 2:], axis=0)
        raise PixnetValueError(
            f"{where}: in its pixels they span {low.round(1).tolist()} to {high.round(1).tolist()} (x, y), and it is "
            f"{grid.width} x {grid.height}. Check the transformations, or pass coordinate_system=..."
        )
    if share < LITTLE_OVERLAP:
        warnings.warn(f"Only {where}; the others are NaN.", PixnetWarning, stacklevel=3)
    if len(placed.shapes.repaired):
        rows = placed.index[placed.shapes.repaired[:5]].tolist()
        warnings.warn(
            f"{len(placed.shapes.repaired)} invalid shapes of {placed.key!r} were repaired, e.g. {rows}.",
            PixnetWarning,
            stacklevel=3,
        )


def compute(
    raster: maps.Map, placed: placement.PlacedShapes, statistic: str, quantile: float, progress: bool | None
) -> tuple[np.ndarray, Pooled]:
    """(shapes x quantities) in the unit that the statistic has, and what was pooled to get there."""
    factorised = raster.loadings is not None and statistic in LINEAR
    data = raster.data if factorised else raster.expanded()
    pooled = pool(data, placed.shapes, statistic, quantile=quantile, progress=progress)
    values = pooled.values
    if factorised:
        assert raster.loadings is not None
        values = values @ raster.loadings.matrix + (raster.loadings.intercept if statistic == "mean" else 0.0)
    if raster.unit == maps.RATE and statistic == "sum":
        values = values * pixel_area_um2(raster)
    return values, pooled


def pixel_area_um2(raster: maps.Map) -> float:
    if raster.mpp is None:
        raise PixnetValueError(
            f"{raster.key!r} is in {maps.RATE}, but its µm per pixel are unknown, so no counts can be summed. "
            "State them with pp.mpp, or use statistic='mean'."
        )
    return raster.mpp**2


def provenance(raster: maps.Map, shapes_key: str, statistic: str, quantile: float) -> dict[str, Any]:
    unit = "counts" if raster.unit == maps.RATE and statistic == "sum" else raster.unit
    facts = {
        "shapes": shapes_key,
        "raster": raster.key,
        "statistic": statistic,
        "quantile": quantile if statistic == "quantile" else None,
        "unit": unit,
        "mpp": raster.mpp,
    }
    return {name: value for name, value in facts.items() if value is not None}


def to_table(
    values: np.ndarray, pooled: Pooled, raster: maps.Map, placed: placement.PlacedShapes, facts: dict[str, Any]
) -> Any:
    area = placed.shapes.area
    share = np.divide(pooled.covered, area[:, None], out=np.zeros_like(pooled.covered), where=area[:, None] > 0)
    table = build.table(
        values.astype(np.float32),
        raster.var.copy(),
        placed.key,
        placed.index,
        obs={"coverage": np.clip(share.max(axis=1), 0.0, 1.0), "area_px": area},
        spatial=placed.shapes.centroid * (raster.mpp or 1.0),
    )
    if share.shape[1] > 1 and raster.loadings is None:
        table.layers["coverage"] = share.astype(np.float32)
    table.uns["pixnet_sd"] = {**facts, "spatial_unit": "px" if raster.mpp is None else "um"}
    return table
