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
from pixnet_sd._metrics.scores import log_profile
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import affine, images, maps
from pixnet_sd._sdata.affine import area_scale
from pixnet_sd._sdata.levels import block_means

OVERVIEW_PX = 256
"""Width at which the extent of a map is found."""
SAMPLES = 2
"""Pixels averaged along each axis where a level is much finer than the drawing; the others are skipped."""


LEAST_TOTAL = 0.02
"""A pixel whose counts of all genes are below this share of the median has no profile: noise over noise."""


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
    picture = read_channels(sdata, raster, image_key, box, width_px, coordinate_system)
    return picture if raster.loadings is None else apply_loadings(picture, raster.loadings)


def share_picture(
    sdata: SpatialData,
    whole: maps.Map,
    genes: Sequence[str],
    image_key: str,
    box: Box,
    width_px: float,
    coordinate_system: str | None = None,
) -> PlacedPicture:
    """Read ln(1 + counts of a gene per 10,000 of all genes of a map); NaN where there are hardly any counts."""
    if whole.loadings is None:
        chosen = maps.select_genes_of(whole, genes)
        picture = read_channels(sdata, chosen, image_key, box, width_px, coordinate_system, total=True)
    else:
        programs = read_channels(sdata, whole, image_key, box, width_px, coordinate_system)
        picture = apply_loadings(programs, whole.loadings.with_total([whole.genes.index(gene) for gene in genes]))
    return PlacedPicture(to_log_shares(picture.data[:-1], picture.data[-1]), picture.to_image)


def to_log_shares(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Compute log profiles (genes, y, x) from counts and their total (y, x)."""
    positive = total[total > 0]
    least = LEAST_TOTAL * float(np.median(positive)) if positive.size else 0.0
    kept = np.where(total >= least, total, 0)
    return log_profile(values.reshape(len(values), -1).T, kept.ravel()).T.reshape(values.shape)


def apply_loadings(programs: PlacedPicture, loadings: maps.Loadings) -> PlacedPicture:
    matrix, intercept = (part.astype(np.float32) for part in (loadings.matrix, loadings.intercept))
    return PlacedPicture(maps.expand_block(programs.data, matrix, intercept), programs.to_image)


def read_channels(
    sdata: SpatialData,
    raster: maps.Map,
    image_key: str,
    box: Box,
    width_px: float,
    coordinate_system: str | None,
    *,
    total: bool = False,
) -> PlacedPicture:
    """Read the stored channels behind a map: all programs, or the channels of its genes."""
    image = images.read_image(sdata, raster.key)
    to_image = affine.matrix_between(sdata, raster.key, image_key, coordinate_system)
    names = image.channels if raster.loadings is not None else raster.genes
    channels = [image.channels.index(name) for name in names]
    return read_picture(image, channels, to_image, box, width_px, total=total)


def extent_of_values(
    sdata: SpatialData, raster: maps.Map, image_key: str, coordinate_system: str | None = None
) -> Box | None:
    """Find the box of an image in which a map has values, from some of its pixels; None if it has none."""
    to_image = affine.matrix_between(sdata, raster.key, image_key, coordinate_system)
    grid = images.read_image(sdata, raster.key).grid
    picture = read_picture(
        images.read_image(sdata, raster.key), [0], np.eye(3), Box(0, 0, grid.width, grid.height), OVERVIEW_PX
    )
    return extent_of(np.isfinite(picture.data[0]), to_image @ picture.to_image)


def extent_of(mask: np.ndarray, to_image: np.ndarray) -> Box | None:
    """Return the box of an image around the pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    around = Box(*map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
    x, y, _ = to_image @ around.corners
    return Box(*map(float, (x.min(), y.min(), x.max(), y.max())))


def read_picture(
    image: images.Image,
    channels: Sequence[int],
    to_image: np.ndarray,
    box: Box,
    width_px: float,
    *,
    total: bool = False,
) -> PlacedPicture:
    """Read some channels in a box; with `total`, the sum of all channels of the image comes last."""
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
    sampled = sample_pixels(level.data[(slice(None), *window.slices)], stride)
    parts = [sampled[list(channels)], *([sampled.sum(axis=0, keepdims=True)] if total else [])]
    size = float(stride * block)
    place = np.array([[size, 0, window.x0], [0, size, window.y0], [0, 0, 1]])
    return PlacedPicture(block_means(load_lazy(da.concatenate(parts)), block), to_image @ place)


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
