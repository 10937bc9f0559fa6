"""From a raster to a table: one row for each shape, by exact area coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._keys import expression_key
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import elements, maps
from pixnet_sd._sdata.labels import read_regions
from pixnet_sd._sdata.shapes import PlacedShapes
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._zonal.aggregate import Pooled
from pixnet_sd._zonal.aggregate import aggregate as pool
from pixnet_sd.tl._tables import (
    LINEAR,
    check_overlap,
    check_statistic,
    check_uncertainty,
    table_facts,
    to_quantities,
    to_table,
)


@overload
def aggregate(
    sdata: SpatialData,
    shapes_key: str | None = ...,
    *,
    raster_key: str | None = ...,
    statistic: str | None = ...,
    quantile: float = ...,
    unit: str | None = ...,
    genes: Sequence[str] | None = ...,
    coordinate_system: str | None = ...,
    uncertainty: bool = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> AnnData: ...


@overload
def aggregate(
    sdata: SpatialData,
    shapes_key: str | None = ...,
    *,
    raster_key: str | None = ...,
    statistic: str | None = ...,
    quantile: float = ...,
    unit: str | None = ...,
    genes: Sequence[str] | None = ...,
    coordinate_system: str | None = ...,
    uncertainty: bool = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...


def aggregate(
    sdata: SpatialData,
    shapes_key: str | None = None,
    *,
    raster_key: str | None = None,
    statistic: str | None = None,
    quantile: float = 0.5,
    unit: str | None = None,
    genes: Sequence[str] | None = None,
    coordinate_system: str | None = None,
    uncertainty: bool = False,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
    progress: bool | None = None,
) -> AnnData | None:
    """Aggregate a raster over shapes or labels, weighting each pixel by the exact share that a shape covers.

    Works for any image element: a map that was predicted, a mask, a stain, a signal of another tool. A predicted
    map is pooled as programs and then multiplied by its loadings, which is exact and costs the same for ten genes or
    ten thousand. The raster is read in blocks, each once; shapes may overlap, have holes, be smaller than a pixel.

    Parameters
    ----------
    sdata
        The object that holds both.
    shapes_key
        Polygons, circles or labels; may be left out when there is one element. A label is the union of its pixels,
        whatever their size beside those of the raster, and its number is the row's ``instance_id``.
    raster_key
        The raster. By default the only predicted map, or else the only image.
    statistic
        ``"sum"`` (coverage x value, the default), ``"mean"``, ``"min"``, ``"max"``, ``"std"``, ``"median"`` or
        ``"quantile"``, each weighted by coverage. A raster in counts per µm² is multiplied by the pixel's area, so its
        sums are expected counts. Log expression can only be averaged, and is by default.
    quantile
        Which one ``statistic="quantile"`` takes, from 0 to 1.
    unit
        What the values are, where nothing says it or something else: ``"counts/um2"``, ``"log1p"``, or ``"plain"`` for
        any quantity whose sums are sums of its values. Pixels that look like a predicted map but have no known unit,
        as after computing with a map, have no sum without it.
    genes
        Channels or genes to aggregate; by default all.
    coordinate_system
        The coordinate system in which the two lie over each other; only needed where several disagree.
    uncertainty
        Add ``layers["sd"]``: the standard deviation of what the members of an ensemble predict. It says where the
        model is unsure, not how far measurements stray; see ``tl.intervals`` for that.
    key_added
        Name of the table; ``"{shapes}_expression"`` by default.
    overwrite
        Replace a table of that name; what this package did not make is never replaced.
    inplace
        Add the table to the object. Otherwise it is returned.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    If ``inplace=False`` the table, else None. Every shape has its row, in the order of the element.
    ``obs["coverage"]`` is the share of its area that has values, which a map has on tissue only. A sum adds up what is
    there, so glass counts as nothing; a mean is that of the part with values. Where there are none, the row is NaN, and
    a line in the log counts such rows.
    ``obsm["spatial"]`` holds centroids, in µm where the raster's µm per pixel are known, otherwise in pixels.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.aggregate(sdata, "cells", raster_key="he", statistic="mean")
    >>> sdata.tables["cells_expression"].var_names.tolist()
    ['r', 'g', 'b']
    """
    raster = maps.read_map(sdata, raster_key, genes, unit=unit)
    key = elements.find_regions_key(sdata, shapes_key)
    name = key_added or expression_key(key)
    statistic = check_statistic(statistic, raster)
    if uncertainty:
        check_uncertainty(raster, statistic)
    if inplace:
        check_results(sdata, {name: "tables"}, overwrite=overwrite)
    grid = PixelGrid(*raster.data.shape[-2:])
    placed = read_regions(sdata, key, raster.key, grid, coordinate_system)
    check_overlap(placed, grid, raster.key)
    values, pooled = compute_statistic(raster, placed, statistic, quantile, progress)
    facts = table_facts(raster, key, statistic, quantile, raster.facts)
    table = to_table(values, pooled, raster, placed, facts, uncertainty)
    if not inplace:
        return table
    attach(sdata, {name: table}, {name: {"kind": "table", **facts}}, overwrite=overwrite)
    return None


def compute_statistic(
    raster: maps.Map, placed: PlacedShapes, statistic: str, quantile: float, progress: bool | None
) -> tuple[np.ndarray, Pooled]:
    """(shapes x quantities) in the unit that the statistic has, and what was pooled to get there."""
    factorised = raster.loadings is not None and statistic in LINEAR
    data = raster.data if factorised else raster.expanded()
    pooled = pool(data, placed.shapes, statistic, quantile=quantile, progress=progress)
    return to_quantities(pooled.values, raster, statistic, factorised=factorised), pooled
