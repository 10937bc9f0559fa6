"""Rasters, windows and tiles in integers, 3 x 3 matrices between them. Knows neither torch nor spatialdata.

Convention, for the whole package: pixel (i, j) covers [j, j+1) x [i, i+1); x runs along columns, y runs down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixnet_sd._errors import PixnetValueError


@dataclass(frozen=True, order=True, slots=True)
class Window:
    """A half-open rectangle of pixels. It may reach outside a raster; `clip` brings it back."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def height(self) -> int:
        return max(self.y1 - self.y0, 0)

    @property
    def width(self) -> int:
        return max(self.x1 - self.x0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return rows and columns to index the last two axes of a raster; only for windows inside it."""
        if min(self.y0, self.x0) < 0:
            raise PixnetValueError(f"{self} begins outside its raster; clip it before slicing.")
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def clip(self, to: Window) -> Window:
        """Return the part inside `to`; empty (area 0) if there is none."""
        y0, x0 = max(self.y0, to.y0), max(self.x0, to.x0)
        return Window(y0, x0, max(y0, min(self.y1, to.y1)), max(x0, min(self.x1, to.x1)))

    def grow(self, margin: int) -> Window:
        return Window(self.y0 - margin, self.x0 - margin, self.y1 + margin, self.x1 + margin)

    def shift(self, dy: int, dx: int) -> Window:
        return Window(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)

    def relative_to(self, other: Window) -> Window:
        """Return this window in the pixels of `other`, whose corner becomes (0, 0)."""
        return self.shift(-other.y0, -other.x0)

    def coarsened(self, stride: int) -> Window:
        """Return the window that covers this one in a raster `stride` times coarser."""
        return Window(self.y0 // stride, self.x0 // stride, -(-self.y1 // stride), -(-self.x1 // stride))


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """A raster's size, and where it lies in the pixels of its source (scale0 of the image it came from)."""

    height: int
    width: int
    step: tuple[float, float] = (1.0, 1.0)
    """Size of one raster pixel along x and y, in source pixels."""
    origin: tuple[float, float] = (0.0, 0.0)
    """Where the raster's corner lies (x, y), in source pixels."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or not (self.step[0] > 0 and self.step[1] > 0):
            raise PixnetValueError(f"A raster needs at least one pixel and a positive step; got {self!r}.")

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def window(self) -> Window:
        return Window(0, 0, self.height, self.width)

    @property
    def to_source(self) -> np.ndarray:
        """Return the 3 x 3 matrix on (x, y, 1) from raster pixels to source pixels."""
        (sx, sy), (ox, oy) = self.step, self.origin
        return np.array([[sx, 0.0, ox], [0.0, sy, oy], [0.0, 0.0, 1.0]])

    @property
    def from_source(self) -> np.ndarray:
        """Return the 3 x 3 matrix on (x, y, 1) from source pixels to raster pixels."""
        (sx, sy), (ox, oy) = self.step, self.origin
        return np.array([[1 / sx, 0.0, -ox / sx], [0.0, 1 / sy, -oy / sy], [0.0, 0.0, 1.0]])

    def coarsened(self, stride: int) -> PixelGrid:
        """Return the grid of pixels `stride` times larger with the same corner; the last may reach over the edge."""
        step = (self.step[0] * stride, self.step[1] * stride)
        return PixelGrid(-(-self.height // stride), -(-self.width // stride), step, self.origin)


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of work: pixels to read (these may reach outside the image) and the core that is kept."""

    read: Window
    core: Window


def make_tiles(height: int, width: int, *, size: int, stride: int = 1, margin: int = 0) -> Iterator[Tile]:
    """Yield tiles whose cores partition a `height` x `width` image, row by row.

    Every read begins at a multiple of `stride` and has the same shape, so tiles can be stacked into batches: a core's
    place plus at least `margin` on each side. What a read sees outside the image is for its reader to fill.
    """
    if min(height, width, size, stride) < 1 or margin < 0:
        raise PixnetValueError(f"Cannot tile {height} x {width} px with {size=}, {stride=}, {margin=}.")
    if size % stride:
        raise PixnetValueError(
            f"The tile size must be a multiple of the network's stride; got {size} and {stride}. "
            f"Use {round_up(size, stride)}."
        )
    image = Window(0, 0, height, width)
    tile_height, tile_width = (min(size, round_up(side, stride)) for side in image.shape)
    margin = round_up(margin, stride)
    for y in range(0, height, tile_height):
        for x in range(0, width, tile_width):
            place = Window(y, x, y + tile_height, x + tile_width)
            yield Tile(read=place.grow(margin), core=place.clip(image))


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple
