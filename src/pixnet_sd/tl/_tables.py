"""What any table for shapes needs, whether its raster was read or has just been predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import build, maps
from pixnet_sd._sdata.provenance import digest_pixels
from pixnet_sd._sdata.shapes import PlacedShapes
from pixnet_sd._settings import logger
from pixnet_sd._zonal.aggregate import Pooled

LINEAR = ("sum", "mean")
"""Statistics that commute with loadings."""
LITTLE_OVERLAP = 0.5
BLOCK_VALUES = 2**22
"""Of a table, made at a time."""


def check_statistic(statistic: str | None, raster: maps.Map) -> str:
    if statistic in (None, "sum") and raster.resembles is not None:
        raise PixnetValueError(
            f"The channels of {raster.key!r} are {raster.resembles}, but nothing says in which unit its pixels are: "
            "they were computed from a map, or what was recorded of them is lost. Pass unit='counts/um2', "
            "unit='log1p', or unit='plain' for sums of the values as they are."
        )
    if statistic is None:
        return "mean" if raster.unit == maps.LOG else "sum"
    if statistic == "sum" and raster.unit == maps.LOG:
        raise PixnetValueError(
            f"statistic='sum' was asked of {raster.key!r}, which holds log expression; logs do not add up. "
            "Use statistic='mean', or a model of rates."
        )
    return statistic


def check_uncertainty(raster: maps.Map, statistic: str) -> None:
    """Only members can disagree, and only what is linear can be told apart after pooling."""
    members = None if raster.loadings is None else raster.loadings.members
    count = 0 if members is None else len(np.unique(members))
    if count < 2 or raster.unit != maps.RATE or statistic not in LINEAR:
        raise PixnetValueError(
            f"uncertainty=True needs sums or means of a map of rates from a model with several members; {raster.key!r} "
            f"is in {raster.unit} from {count} member(s), and statistic={statistic!r} was asked. Train with "
            "TrainConfig(members=5)."
        )


def check_overlap(placed: PlacedShapes, grid: PixelGrid, raster_key: str) -> None:
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
        warn(f"Only {where}; the others are NaN.")
    if len(placed.shapes.repaired):
        rows = placed.index[placed.shapes.repaired[:5]].tolist()
        warn(f"{len(placed.shapes.repaired)} invalid shapes of {placed.key!r} were repaired, e.g. {rows}.")


def to_quantities(pooled: np.ndarray, raster: maps.Map, statistic: str, *, factorised: bool) -> np.ndarray:
    """(shapes x quantities), float32, in the statistic's unit, from pooled quantities or pooled programs."""
    factor = pixel_area_um2(raster) if raster.unit == maps.RATE and statistic == "sum" else 1.0
    if not factorised:
        return (pooled * factor).astype(np.float32)
    assert raster.loadings is not None
    matrix = raster.loadings.matrix * factor
    intercept = raster.loadings.intercept if statistic == "mean" else 0.0
    return by_rows(pooled, matrix.shape[1], lambda some: some @ matrix + intercept)


def members_sd(pooled: np.ndarray, raster: maps.Map, statistic: str) -> np.ndarray:
    """(shapes x genes), float32: how far the members of an ensemble are apart, from pooled programs."""
    loadings = raster.loadings
    assert loadings is not None and loadings.members is not None
    owned = [loadings.members == member for member in np.unique(loadings.members)]
    factor = len(owned) * (pixel_area_um2(raster) if statistic == "sum" else 1.0)

    def spread(some: np.ndarray) -> np.ndarray:
        return np.std([some[:, own] @ loadings.matrix[own] for own in owned], axis=0) * factor

    return by_rows(pooled, loadings.matrix.shape[1], spread)


def by_rows(pooled: np.ndarray, columns: int, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Make some shapes at a time: tables are the largest things there are, and twice as large in double precision."""
    found = np.empty((len(pooled), columns), np.float32)
    size = max(1, BLOCK_VALUES // columns)
    for start in range(0, len(pooled), size):
        found[start : start + size] = compute(pooled[start : start + size])
    return found


def pixel_area_um2(raster: maps.Map) -> float:
    if raster.mpp is None:
        raise PixnetValueError(
            f"{raster.key!r} is in {maps.RATE}, but its µm per pixel are unknown, so no counts can be summed. "
            "State them with pp.mpp, or use statistic='mean'."
        )
    return raster.mpp**2


def table_facts(
    raster: maps.Map, shapes_key: str, statistic: str, quantile: float, made: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is recorded of a table; `made` is what is recorded of its raster, whose model it names."""
    unit = "counts" if raster.unit == maps.RATE and statistic == "sum" else raster.unit
    facts = {
        "shapes": shapes_key,
        "raster": raster.key,
        "statistic": statistic,
        "quantile": quantile if statistic == "quantile" else None,
        "unit": unit,
        "mpp": raster.mpp,
        **{name: (made or {}).get(name) for name in ("model", "sha256")},
        "pixels": digest_pixels(made),
    }
    return {name: value for name, value in facts.items() if value is not None}


def to_table(
    values: np.ndarray,
    pooled: Pooled,
    raster: maps.Map,
    placed: PlacedShapes,
    facts: dict[str, Any],
    uncertainty: bool,
) -> AnnData:
    area = placed.shapes.area
    share = np.divide(pooled.covered, area[:, None], out=np.zeros_like(pooled.covered), where=area[:, None] > 0)
    table = build.make_table(
        values,
        raster.var.copy(),
        placed.key,
        placed.index,
        obs={"coverage": np.clip(share.max(axis=1), 0.0, 1.0), "area_px": area},
        spatial=placed.shapes.centroid * (raster.mpp or 1.0),
    )
    if share.shape[1] > 1 and raster.loadings is None:
        table.layers["coverage"] = share.astype(np.float32)
    if uncertainty:
        table.layers["sd"] = members_sd(pooled.values, raster, facts["statistic"])
    table.uns["pixnet_sd"] = {**facts, "spatial_unit": "px" if raster.mpp is None else "um"}
    report_empty_rows(table, placed.key)
    return table


def report_empty_rows(table: AnnData, shapes_key: str) -> None:
    """Log how many rows are NaN, which scanpy refuses, with the line that drops them."""
    empty = int((table.obs["coverage"] == 0).sum())
    if empty:
        logger.warning(
            "%d of the %d %r have no value (off the map or the tissue) and are NaN, which scanpy does not take: "
            "adata = adata[adata.obs['coverage'] > 0].copy()",
            empty,
            table.n_obs,
            shapes_key,
        )
