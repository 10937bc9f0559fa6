"""Read labels elements as shapes in the pixels of a raster: each label is the union of its pixels, exactly."""

from __future__ import annotations

from itertools import product

import dask.array as da
import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, images
from pixnet_sd._sdata.shapes import PlacedShapes, read_shapes
from pixnet_sd._zonal.runs import find_runs, from_runs


def read_regions(
    sdata: SpatialData, key: str, image_key: str, grid: PixelGrid, coordinate_system: str | None = None
) -> PlacedShapes:
    """Read shapes, or labels as shapes, in the pixels of a raster that is on `grid` over an image."""
    read = read_labels if key in sdata.labels else read_shapes
    return read(sdata, key, image_key, grid, coordinate_system)


def read_labels(
    sdata: SpatialData, key: str, image_key: str, grid: PixelGrid, coordinate_system: str | None = None
) -> PlacedShapes:
    """Read all labels but 0, in ascending order, which are their ids; of a pyramid, the finest level counts."""
    pixels = images.as_dask(affine.finest_array(sdata.labels[key]))
    runs = read_runs(pixels)
    if not len(runs):
        raise PixnetValueError(f"Labels {key!r} hold no object: all of their {pixels.size:,} pixels are 0.")
    to_raster = grid.from_source @ affine.matrix_between(sdata, key, image_key, coordinate_system)
    ids, shapes = from_runs(runs, to_raster)
    return PlacedShapes(key, pd.Index(ids), shapes)


def read_runs(pixels: da.Array) -> np.ndarray:
    """Find runs block by block: an object that is cut has some more of them, and the same pixels."""
    places = [np.cumsum([0, *sizes]) for sizes in pixels.chunks]
    rows, columns = (list(zip(at[:-1], at[1:], strict=True)) for at in places)
    found = [
        find_runs(load_lazy(pixels[y0:y1, x0:x1], scheduler="synchronous"), (y0, x0))
        for (y0, y1), (x0, x1) in product(rows, columns)
    ]
    return np.concatenate(found)
