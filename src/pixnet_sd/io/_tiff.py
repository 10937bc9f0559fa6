"""Levels of a TIFF file as lazy arrays. Imports tifffile, zarr and dask."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import zarr

from pixnet_sd._errors import PixnetValueError

BLOCK_PX = 1024
"""Side of chunks, rounded to whole tiles of the file."""


class TiffLevel:
    """One level of one series, indexed like an array. After pickling, each process opens the file itself."""

    def __init__(self, path: str, series: int, level: int) -> None:
        self.path, self.series, self.level = path, series, level

    def __reduce__(self) -> tuple[Any, ...]:
        return TiffLevel, (self.path, self.series, self.level)

    @cached_property
    def pixels(self) -> Any:
        """Open the zarr array over the file; it stays open as long as this object."""
        return zarr.open(tifffile.imread(self.path, aszarr=True, series=self.series, level=self.level), mode="r")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.pixels.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.pixels[index])


def main_series(tiff: tifffile.TiffFile) -> int:
    """Return the series with the most pixels, which is not the label, the thumbnail or the overview."""
    sizes = [int(np.prod(series.shape)) for series in tiff.series]
    return int(np.argmax(sizes))


def channel_axis(axes: str, shape: tuple[int, ...], path: Path) -> str:
    """Return the letter of the channel axis, or an empty string. Other axes than y and x must have length 1."""
    channels = [axis for axis in "SC" if axis in axes and shape[axes.index(axis)] > 1]
    others = [axis for axis, n in zip(axes, shape, strict=True) if axis not in "YXSC" and n > 1]
    if "Y" not in axes or "X" not in axes or others or len(channels) > 1:
        raise PixnetValueError(
            f"{path} has the axes {axes} of {shape}; a 2-D image with one axis of channels is needed. "
            "Export one plane of it."
        )
    return channels[0] if channels else ""


def level_array(path: Path, series: int, level: int, axes: str, channels: str) -> da.Array:
    """Return one level as a lazy array (c, y, x)."""
    source = TiffLevel(str(path), series, level)
    whole = da.from_array(source, chunks=block_sizes(source.pixels.chunks, source.shape, axes), name=False)
    index = tuple(slice(None) if axis in ("Y", "X", channels) else 0 for axis in axes)
    left = "".join(axis for axis in axes if axis in ("Y", "X", channels))
    plane = whole[index]
    plane = plane.transpose([left.index(axis) for axis in (*channels, "Y", "X")])
    return (plane if channels else plane[None]).rechunk((-1, *map(split_chunk, plane.chunksize[-2:])))


def block_sizes(tile: tuple[int, ...], shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Return chunks of whole tiles, about `BLOCK_PX` along y and x, complete along other axes."""
    sizes = zip(axes, tile, shape, strict=True)
    return tuple(min(n, max(1, BLOCK_PX // part) * part) if axis in "YX" else n for axis, part, n in sizes)


def split_chunk(chunk: int) -> int:
    """Return a chunk that makes small windows cheap; strips are as wide as the slide."""
    return chunk if chunk < 2 * BLOCK_PX else BLOCK_PX
