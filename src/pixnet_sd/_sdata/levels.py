"""The resolutions of an image element, taken apart and put together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from pixnet_sd._sdata import build
from pixnet_sd._sdata.maps import Map, select_genes_of
from pixnet_sd._sdata.provenance import SLOT

CHUNKS = (16, 256, 256)
PYRAMID_FROM_PX = 1024
"""Rasters with a longer side get coarser levels."""


def arrays_of(element: Any) -> list[da.Array]:
    """Return (c, y, x) of each level, finest first."""
    if isinstance(element, xr.DataArray):
        return [element.data]
    return [next(iter(level.values())).data for level in element.values()]


def with_arrays(element: Any, arrays: Sequence[Any]) -> Any:
    """Replace the values of an element; names, coordinates and transformations stay."""
    if isinstance(element, xr.DataArray):
        return element.copy(data=arrays[0])
    levels = {}
    for (name, level), array in zip(element.items(), arrays, strict=True):
        (variable, values), *_ = level.to_dataset().items()
        levels[name] = xr.Dataset({variable: values.copy(data=array)})
    return xr.DataTree.from_dict(levels)


def blank_raster(shape: tuple[int, int, int], channels: Sequence[str], transformations: build.Transformations) -> Any:
    """Make an element of float32 zeros, with coarser levels if it is large."""
    values = da.zeros(shape, chunks=CHUNKS, dtype=np.float32)
    return build.make_image(values, channels, transformations, pyramid=max(shape[1:]) > PYRAMID_FROM_PX)


def fill_levels(blank: Any, values: np.ndarray) -> Any:
    """Fill a blank raster with values, and its coarser levels with their means."""
    arrays = [values]
    for level in arrays_of(blank)[1:]:
        rows, columns = count_trimmed(arrays[-1].shape, level.shape)
        arrays.append(block_means(arrays[-1][:, rows:, columns:], 2))
    return with_arrays(blank, [da.from_array(array, chunks=CHUNKS) for array in arrays])


def count_trimmed(fine: tuple[int, ...], coarse: tuple[int, ...]) -> tuple[int, int]:
    """Count first rows and columns that are not in the next coarser level, as SpatialData trims them."""
    height, width = (max(n - 2 * m, 0) for n, m in zip(fine[-2:], coarse[-2:], strict=True))
    return height, width


def block_means(data: np.ndarray, block: int) -> np.ndarray:
    """Average square blocks, NaN left out; the last blocks may be partial."""
    values = data.astype(np.float32)
    if block == 1:
        return values
    channels, height, width = values.shape
    short = [(0, 0), (0, -height % block), (0, -width % block)]
    padded = np.pad(values, short, constant_values=np.nan)
    blocks = padded.reshape(channels, padded.shape[1] // block, block, padded.shape[2] // block, block)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(blocks, axis=(2, 4))


def expand_genes(programs: Any, raster: Map) -> Any:
    """Make genes of a raster as an image element, lazy over its programs, level by level."""
    if isinstance(programs, xr.DataArray):
        return genes_like(programs, raster)
    levels = {}
    for name, level in programs.items():
        (variable, values), *_ = level.to_dataset().items()
        levels[name] = xr.Dataset({variable: genes_like(values, raster)})
    return xr.DataTree.from_dict(levels)


def genes_like(programs: xr.DataArray, raster: Map) -> xr.DataArray:
    """Make genes at one level, which may be a crop; attributes hold the transformations and the record."""
    places = {axis: programs.coords[axis] for axis in ("y", "x") if axis in programs.coords}
    genes = genes_of(replace(raster, data=programs.data))
    attributes = {name: value for name, value in programs.attrs.items() if name != SLOT}
    return xr.DataArray(genes, {"c": raster.genes, **places}, programs.dims, attrs=attributes)


def genes_of(raster: Map) -> da.Array:
    """Compute (genes, y, x), a few genes at a time, so that reading one does not compute all."""
    step = CHUNKS[0]
    groups = [raster.genes[start : start + step] for start in range(0, len(raster.genes), step)]
    return da.concatenate([select_genes_of(raster, group).expanded() for group in groups])
