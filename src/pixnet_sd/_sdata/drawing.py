"""Read just the pixels that a drawing can show: a crop of the pyramid level that fits, thinned where none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import dask.array as da
import numpy as np
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import affine, images, maps
from pixnet_sd._sdata.affine import area_scale
from pixnet_sd._sdata.levels import block_means

SAMPLES = 2
"""Pixels averaged along each axis where a level is much finer than the drawing; the others are skipped."""


class Box(NamedTuple):
    """A rectangle in pixels of an image's finest level."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def corners(self) -> np.ndarray:
        """Return the corners as (3, 4): columns (x, y, 1)."""
        return np.array([[self.x0, self.x1, self.x0, self.x1], [self.y0, self.y0, self.y1, self.y1], [1, 1, 1, 1]])


@dataclass(frozen=True)
class PlacedPicture:
    """Pixels in memory, and where they lie."""

    data: np.ndarray
    """(c, y, x) float32; NaN where there is nothing."""
    to_image: np.ndarray
    """3 x 3 matrix on (x, y, 1): pixels of `data` to finest pixels of the image that is the frame."""


def rgb_picture(
    sdata: SpatialData, image_key: str, box: Box, width_px: float, value_range: tuple[float, float] | None = None
) -> PlacedPicture:
    """Read an H&E image in 0 to 1, with `width_px` pixels or more over the box's width if it has so many."""
    image = images.read_rgb(sdata, image_key, value_range)
    picture = read_picture(image, range(3), np.eye(3), box, width_px)
    scale = 255 if image.data.dtype == np.uint8 else 1
    return PlacedPicture(picture.data / np.float32(scale), picture.to_image)


def map_picture(
    sdata: SpatialData,
    raster: maps.Map,
    image_key: str,
    box: Box,
    width_px: float,
    coordinate_system: str | None = None,
) -> PlacedPicture:
    """Read the quantities of a map in the frame of an image; loadings are applied to the pixels shown only."""
    image = images.read_image(sdata, raster.key)
    to_image = affine.matrix_between(sdata, raster.key, image_key, coordinate_system)
    names = image.channels if raster.loadings is not None else raster.genes
    picture = read_picture(image, [image.channels.index(name) for name in names], to_image, box, width_px)
    if raster.loadings is None:
        return picture
    matrix, intercept = (part.astype(np.float32) for part in (raster.loadings.matrix, raster.loadings.intercept))
    return PlacedPicture(maps.expand_block(picture.data, matrix, intercept), picture.to_image)


def read_picture(
    image: images.Image, channels: Sequence[int], to_image: np.ndarray, box: Box, width_px: float
) -> PlacedPicture:
    step = max(1.0, box.width / width_px / area_scale(to_image))
    level = image.level_at(step)
    to_image = to_image @ level.grid.to_source
    window = window_over(box, to_image).clip(level.grid.window)
    if not window.area:
        raise PixnetValueError(
            f"{image.key!r} ({image.grid.height} x {image.grid.width} px) has no pixels in the box {tuple(box)}. "
            "Check its transformations, or the box."
        )
    stride, block = split_factor(int(step / max(level.grid.step) * (1 + 1e-6)))
    sampled = load_lazy(sample_pixels(level.data[(slice(None), *window.slices)], stride)[list(channels)])
    size = float(stride * block)
    place = np.array([[size, 0, window.x0], [0, size, window.y0], [0, 0, 1]])
    return PlacedPicture(block_means(sampled, block), to_image @ place)


def window_over(box: Box, to_image: np.ndarray) -> Window:
    """Find the pixels of a raster that a box of the image needs, also if the raster is rotated."""
    x, y, _ = np.linalg.solve(to_image, box.corners)
    low, high = np.floor((x.min(), y.min())).astype(int), np.ceil((x.max(), y.max())).astype(int)
    return Window(low[1], low[0], high[1], high[0])


def split_factor(factor: int) -> tuple[int, int]:
    """Split into a stride and a block whose product is nearly, and at most, `factor`."""
    stride = max(1, factor // SAMPLES)
    return stride, max(1, factor // stride)


def sample_pixels(data: da.Array, stride: int) -> da.Array:
    """Take every `stride`-th pixel, from the middle of those it represents."""
    first = [min(stride // 2, size - 1) for size in data.shape[1:]]
    return data[:, first[0] :: stride, first[1] :: stride]
