"""Read image elements as (c, y, x) arrays with their place, one for each pyramid level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._raster.picture import Picture
from pixnet_sd._sdata import affine

SNAP_PX = 0.01
"""A step this near to 1 over the whole image is 1: µm per pixel carry rounding."""


@dataclass(frozen=True)
class Level:
    """One resolution of an image."""

    data: da.Array
    """(c, y, x), lazy."""
    grid: PixelGrid


@dataclass(frozen=True)
class Image:
    """An image element, all its resolutions, finest first."""

    key: str
    channels: tuple[str, ...]
    levels: tuple[Level, ...]

    @property
    def data(self) -> da.Array:
        return self.levels[0].data

    @property
    def grid(self) -> PixelGrid:
        return self.levels[0].grid

    def level_at(self, step: float, *, exact: bool = False) -> Level:
        """Choose the coarsest level whose pixels are not larger than `step` pixels of the finest.

        With `exact`, one whose pixels are whole blocks of finest ones beyond doubt; see `level_grid`.
        """
        levels = [level for level in self.levels if self.is_exact(level)] if exact else self.levels
        # µm per pixel carry rounding, which must not make the choice fall on a level twice as fine.
        fitting = [level for level in levels if max(level.grid.step) <= step * (1 + 1e-6)]
        return fitting[-1] if fitting else self.levels[0]

    def is_exact(self, level: Level) -> bool:
        sides = zip(self.grid.shape, level.grid.shape, level.grid.step[::-1], strict=True)
        return all(step.is_integer() and fine == coarse * step for fine, coarse, step in sides)


def read_image(sdata: SpatialData, key: str) -> Image:
    element = sdata.images[key]
    arrays = [element] if isinstance(element, xr.DataArray) else [next(iter(v.values())) for v in element.values()]
    finest = arrays[0]
    if tuple(finest.dims) != ("c", "y", "x"):
        raise PixnetTypeError(
            f"Image {key!r} has the axes {tuple(finest.dims)}; only 2-D images (c, y, x) are handled."
        )
    levels = tuple(Level(as_dask(array), level_grid(finest.shape[-2:], array.shape[-2:])) for array in arrays)
    return Image(key, tuple(str(name) for name in finest.coords["c"].values), levels)


def read_mask(sdata: SpatialData, key: str) -> da.Array:
    """Read the finest level of labels as (1, y, x): 1 for any label, 0 for none."""
    return (as_dask(affine.finest_array(sdata.labels[key])) > 0).astype(np.uint8)[None]


def as_dask(array: xr.DataArray) -> da.Array:
    data = array.data
    return data if isinstance(data, da.Array) else da.from_array(data, chunks=(*[-1] * (data.ndim - 2), 2048, 2048))


def level_grid(finest: tuple[int, ...], shape: tuple[int, ...]) -> PixelGrid:
    """Find where the pixels of a coarser level are.

    Pyramids divide by whole factors, so 801 px become 400 of 2, not of 2.0025. What is left over is trimmed at the
    beginning, so these 400 begin at pixel 1: SpatialData makes levels so, through xarray's `coarsen(side="right")`,
    whatever scale it then states for them, and we make those of maps so. Where a level has more pixels, its last ones
    are partial. Other programs trim at the end, or resize, which no size tells: theirs may lie off by less than one of
    their own pixels.
    """
    (sy, oy), (sx, ox) = (pyramid_place(fine, coarse) for fine, coarse in zip(finest, shape, strict=True))
    height, width = shape
    return PixelGrid(height, width, (sx, sy), (ox, oy))


def pyramid_place(fine: int, coarse: int) -> tuple[float, float]:
    """Size of a level's pixels along one axis, and where the first one begins, in finest pixels."""
    factor = max(1, round(fine / coarse))
    rest = fine - coarse * factor
    return (float(factor), float(max(rest, 0))) if abs(rest) < factor else (fine / coarse, 0.0)


def read_rgb(sdata: SpatialData, key: str, value_range: tuple[float, float] | None = None) -> Image:
    """Read an H&E image with the channels red, green, blue: uint8, or float32 in 0 to 1 if a range was stated."""
    image = read_image(sdata, key)
    check_rgb(image, value_range)
    levels = tuple(replace(level, data=to_rgb(level.data, value_range, key)) for level in image.levels)
    return Image(key, ("r", "g", "b"), levels)


RGB_NAMES = (("r", "g", "b"), ("red", "green", "blue"), ("0", "1", "2"))
RGBA_NAMES = tuple((*names, last) for names, last in zip(RGB_NAMES, ("a", "alpha", "3"), strict=True))


def is_color(sdata: SpatialData, key: str) -> bool:
    """Check whether channels are named red, green, blue; numbers count as colors only for uint8."""
    pixels = affine.finest_array(sdata.images[key])
    names = tuple(str(name).lower() for name in pixels.coords["c"].values) if "c" in pixels.coords else ()
    return names in RGB_NAMES + RGBA_NAMES and (names[0] != "0" or pixels.dtype == np.uint8)


def check_rgb(image: Image, value_range: tuple[float, float] | None) -> None:
    count, dtype = image.data.shape[0], image.data.dtype
    names = tuple(name.lower() for name in image.channels)
    if count not in (3, 4):
        raise PixnetValueError(
            f"Image {image.key!r} has {count} channels; an H&E image has 3 (r, g, b), or 4 with alpha. "
            "Its axes must be (c, y, x)."
        )
    if names not in RGB_NAMES + RGBA_NAMES:
        known = any(set(names) <= set(order) for order in RGBA_NAMES)
        raise PixnetValueError(
            f"Image {image.key!r} has its channels in the order {names}; put them in the order r, g, b, "
            "e.g. element.sel(c=['r', 'g', 'b'])."
            if known
            else f"Image {image.key!r} has the channels {names}, which do not say that they are red, green and blue. "
            f"If they are, rename them: sdata.set_channel_names({image.key!r}, ['r', 'g', 'b'])."
        )
    check_range(image.key, dtype, value_range)


def check_range(key: str, dtype: np.dtype, value_range: tuple[float, float] | None) -> None:
    if dtype != np.uint8 and value_range is None:
        raise PixnetValueError(
            f"Image {key!r} is {dtype}, so its black and white are unknown. "
            "Pass value_range=(black, white), e.g. (0, 65535) or (0.0, 1.0), or convert it to uint8."
        )
    if value_range is not None and not (len(value_range) == 2 and -np.inf < value_range[0] < value_range[1] < np.inf):
        raise PixnetValueError(f"value_range must be (black, white), two finite numbers that rise; got {value_range}.")


def to_rgb(data: da.Array, value_range: tuple[float, float] | None, key: str) -> da.Array:
    black, white = value_range or (0, 255)
    if data.shape[0] == 3 and data.dtype == np.uint8 and (black, white) == (0, 255):
        return data
    return data.rechunk({0: -1}).map_blocks(
        rgb_block, key, black=black, white=white, dtype=np.float32, chunks=((3,), *data.chunks[1:])
    )


def rgb_block(block: np.ndarray, key: str, *, black: float, white: float, block_info: Any = None) -> np.ndarray:
    """Scale to 0..1, and lay what is transparent on white."""
    check_finite(block, key, block_info)
    scaled = np.clip((block.astype(np.float32) - black) / (white - black), 0, 1)
    if len(scaled) == 3:
        return scaled
    color, alpha = scaled[:3], scaled[3:]
    return color * alpha + (1 - alpha)


def check_finite(block: np.ndarray, key: str, block_info: Any) -> None:
    """Refuse NaN and infinite values, which have no color."""
    if block.dtype.kind == "f" and not (finite := np.isfinite(block)).all():
        corner = [start for start, _ in block_info[0]["array-location"]] if block_info else [0, 0, 0]
        c, y, x = np.argwhere(~finite)[0] + corner
        raise PixnetValueError(
            f"Image {key!r} holds {(~finite).sum()} NaN or infinite values in a block of {block.shape[1]} x "
            f"{block.shape[2]} px, the first at channel {c}, row {y}, column {x}. Fill them, e.g. with the white of "
            "value_range."
        )


def level_mpp(level: Level, mpp: float) -> float:
    """Compute µm per pixel of a level from that of the finest."""
    return mpp * float(np.sqrt(np.prod(level.grid.step)))


def read_overview_level(image: Image, step: float) -> Level:
    """Read the whole image at the largest pixels up to `step` that are means of whole blocks."""
    level = from_the_edge(image.level_at(step))
    factor = max(1, int(step / max(level.grid.step) * (1 + 1e-6)))
    if factor == 1:
        return level
    grid = level.grid.coarsened(factor)
    extra = [(0, 0)] + [(0, n * factor - m) for n, m in zip(grid.shape, level.grid.shape, strict=True)]
    # The edge's own pixels: white or black would shift the mean of a partial block.
    padded = da.pad(level.data, extra, mode="edge")
    chunks = tuple(max(factor, size // factor * factor) for size in padded.chunksize[1:])
    blocks = padded.rechunk((-1, *chunks))
    means = da.coarsen(np.mean, blocks, {1: factor, 2: factor})
    return Level(means.round().astype(np.uint8) if level.data.dtype == np.uint8 else means, grid)


def from_the_edge(level: Level) -> Level:
    """Extend a level that was trimmed at its beginning by repeating its first pixels."""
    grid, (ox, oy) = level.grid, level.grid.origin
    rows, columns = int(oy > 0), int(ox > 0)
    if not (rows or columns):
        return level
    origin = (ox - columns * grid.step[0], oy - rows * grid.step[1])
    place = PixelGrid(grid.height + rows, grid.width + columns, grid.step, origin)
    return Level(da.pad(level.data, [(0, 0), (rows, 0), (columns, 0)], mode="edge"), place)


def at_step(image: Image, step: float) -> tuple[Picture, tuple[float, float]]:
    """Return the image with pixels of about `step` of its finest pixels, and their exact size along x and y.

    From a level only where its place is certain: a pyramid must not change what is predicted from the image.
    """
    level = image.level_at(step, exact=True)
    sx, sy = (snap_step(step / own, max(level.grid.shape)) for own in level.grid.step)
    return Picture(level.data, (sx, sy)), (sx * level.grid.step[0], sy * level.grid.step[1])


def snap_step(step: float, side_px: int) -> float:
    return 1.0 if abs(step - 1) * side_px < SNAP_PX else step
