"""Read shapes elements into the pixels of a raster, exactly: the shapes are moved, never the raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from spatialdata import SpatialData

from pixnet_sd._grid import PixelGrid
from pixnet_sd._sdata import affine
from pixnet_sd._sdata.geometry import are_circles, check_index
from pixnet_sd._shapes import Shapes, from_circles, from_polygons


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
    """A shapes element in the pixels of a raster that lies on `grid` over an image."""
    frame = sdata.shapes[key]
    check_index(frame, key)
    to_raster = grid.from_source @ affine.between(sdata, key, image_key, coordinate_system)
    return PlacedShapes(key, frame.index, in_pixels(frame, to_raster))


def in_pixels(frame: GeoDataFrame, to_pixels: np.ndarray) -> Shapes:
    if are_circles(frame):
        points = frame.geometry.to_numpy()
        xy = np.column_stack([shapely.get_x(points), shapely.get_y(points)])  # NaN where one is missing or empty
        return from_circles(xy, frame["radius"].to_numpy(dtype=float), to_pixels)
    return from_polygons(frame.geometry.to_numpy(), to_pixels)
