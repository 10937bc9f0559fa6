"""Read shapes elements into the pixels of a raster, exactly: the shapes are moved, never the raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine
from pixnet_sd._zonal.shapes import Shapes, from_circles, from_polygons


@dataclass(frozen=True)
class PlacedShapes:
    """A shapes element in the pixels of a raster."""

    key: str
    index: pd.Index
    """The element's own index, which tables refer to."""
    shapes: Shapes
    """In raster pixels, in the order of `index`."""


def read_shapes(
    sdata: SpatialData, key: str, image_key: str, grid: PixelGrid, coordinate_system: str | None = None
) -> PlacedShapes:
    """Read a shapes element in the pixels of a raster that is on `grid` over an image."""
    frame = sdata.shapes[key]
    check_index(frame, key)
    to_raster = grid.from_source @ affine.matrix_between(sdata, key, image_key, coordinate_system)
    return PlacedShapes(key, frame.index, to_pixel_shapes(frame, to_raster))


def to_pixel_shapes(frame: GeoDataFrame, to_pixels: np.ndarray) -> Shapes:
    if are_circles(frame):
        points = frame.geometry.to_numpy()
        xy = np.column_stack([shapely.get_x(points), shapely.get_y(points)])  # NaN where one is missing or empty
        return from_circles(xy, frame["radius"].to_numpy(dtype=float), to_pixels)
    return from_polygons(frame.geometry.to_numpy(), to_pixels)


def are_circles(frame: GeoDataFrame) -> bool:
    """Check whether the geometries are centers; polygons may have a column "radius" of their own."""
    kinds = shapely.get_type_id(frame.geometry.to_numpy())
    there = kinds[kinds >= 0]
    return "radius" in frame.columns and bool((there == shapely.GeometryType.POINT).all())


def get_centers(frame: GeoDataFrame) -> np.ndarray:
    """Return (n, 2) centers of circles, or centroids of polygons."""
    points = frame.geometry if are_circles(frame) else frame.geometry.centroid
    return np.column_stack([points.x.to_numpy(), points.y.to_numpy()])


def measure_areas(frame: GeoDataFrame) -> np.ndarray:
    """Compute (n,) areas in squared units of the shapes' own coordinates."""
    if are_circles(frame):
        return np.pi * frame["radius"].to_numpy(dtype=float) ** 2
    return frame.geometry.area.to_numpy()


def check_index(frame: GeoDataFrame, key: str) -> None:
    """Check what SpatialData asks of instance ids, before any work is done for them."""
    if frame.index.nlevels > 1 or frame.index.hasnans or not are_ids(instance_ids(frame.index)):
        raise PixnetValueError(
            f"The index of shapes {key!r} must hold whole numbers or strings, not both, none missing; it holds "
            f"{frame.index[:3].tolist()} ({frame.index.dtype}). Give it others, e.g. .reset_index(drop=True)."
        )
    repeated = frame.index[frame.index.duplicated()].unique()
    if len(repeated):
        raise PixnetValueError(
            f"The index of shapes {key!r} repeats {len(repeated)} values, e.g. {repeated[:3].tolist()}, so a table "
            "could not refer to one shape. Give it a unique index, e.g. .reset_index(drop=True)."
        )


def instance_ids(index: pd.Index) -> np.ndarray:
    """Convert an index for a table: SpatialData takes no integers of one byte, and none among objects."""
    values = np.asarray(index)
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=False) == "integer":
        values = np.array(values.tolist())
    return values.astype(np.int64) if values.dtype.kind in "iu" and values.dtype.itemsize == 1 else values


def are_ids(values: np.ndarray) -> bool:
    """Check whether SpatialData takes them: integers of up to 64 bits, or strings."""
    return values.dtype.kind in "iu" or pd.api.types.infer_dtype(values, skipna=False) in ("string", "empty")
