"""A raster as blocks in memory: which ones, in which order, read ahead. Arrays only; dask only if it is lazy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.grid import Window

BLOCK_SIDE_PX = 1024
"""Chunks are merged up to about this side: far smaller blocks would cut many shapes, larger ones only cost memory."""
EXACT_DTYPES = {"b1": "u1", "u1": "u1", "u2": "u2", "i1": "f4", "i2": "f4", "f2": "f4", "f4": "f4", "f8": "f8"}
"""The dtype that kernels read each dtype as, without loss; other integers become float64."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a raster to be read at once."""

    channels: slice
    window: Window

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        return self.channels, *self.window.slices


def as_raster(raster: Any) -> Any:
    """Return a numpy or dask array (c, y, x); others with shape, dtype and chunks, such as zarr, are wrapped."""
    if getattr(raster, "ndim", None) != 3:
        raise PixnetValueError(f"A raster has the axes (c, y, x); got {getattr(raster, 'shape', type(raster))}.")
    if np.dtype(raster.dtype).kind not in "biuf":
        raise PixnetTypeError(f"A raster holds integers or floats; got {raster.dtype}.")
    # By its attribute: an isinstance would import dask, which numpy arrays do not need.
    if isinstance(raster, np.ndarray) or hasattr(raster, "dask"):
        return raster
    import dask.array

    return dask.array.from_array(raster)


def plan_blocks(raster: Any, limit_bytes: int) -> list[list[Block]]:
    """Plan blocks that partition the raster, a list for each group of channels; each chunk is in one block.

    A block is at most `limit_bytes`, unless a single chunk is more. An array in memory is cut into bands of whole
    rows, which are views of it and free, unless its dtype has to be converted.
    """
    n_channels, height, width = raster.shape
    dtype = np.dtype(raster.dtype)
    itemsize = max(dtype.itemsize, exact_dtype(dtype).itemsize)
    if isinstance(raster, np.ndarray):
        rows, columns, groups = (
            merge_chunks((1,) * height, band_height(raster, limit_bytes)),
            [(0, width)],
            [(0, n_channels)],
        )
    else:
        side_px = min(BLOCK_SIDE_PX, int((limit_bytes / (itemsize * max(raster.chunks[0]))) ** 0.5))
        rows, columns = merge_chunks(raster.chunks[1], side_px), merge_chunks(raster.chunks[2], side_px)
        plane_bytes = itemsize * longest_range(rows) * longest_range(columns)
        groups = merge_chunks(raster.chunks[0], limit_bytes // plane_bytes)
    windows = [Window(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]
    return [[Block(slice(*group), window) for window in windows] for group in groups]


def band_height(raster: np.ndarray, limit_bytes: int) -> int:
    """Choose few, high bands for views, since each border cuts shapes; else as many as the limit asks for."""
    exact = exact_dtype(raster.dtype)
    row_bytes, free = max(1, raster.shape[0] * raster.shape[2] * exact.itemsize), exact == raster.dtype
    return max(BLOCK_SIDE_PX * 4 if free else 1, limit_bytes // row_bytes)


def merge_chunks(sizes: tuple[int, ...], most: int) -> list[tuple[int, int]]:
    """Merge neighboring chunks into ranges of at most `most`."""
    edges = [0]
    for before, after in pairwise(accumulate(sizes, initial=0)):
        if before > edges[-1] and after - edges[-1] > most:
            edges.append(before)
    return list(pairwise([*edges, sum(sizes)]))


def longest_range(ranges: list[tuple[int, int]]) -> int:
    return max(stop - start for start, stop in ranges)


def read_ahead(raster: Any, blocks: Iterable[Block]) -> Iterator[tuple[Block, np.ndarray]]:
    """Yield the blocks with their pixels; a thread reads the next one meanwhile."""
    if isinstance(raster, np.ndarray):
        yield from ((block, raster[block.slices]) for block in blocks)
        return
    waiting = None
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        for block in blocks:
            # dask's own threads would compete with the kernel's; one reader keeps a block ahead of it.
            reading = block, pool.submit(load_lazy, raster[block.slices], scheduler="synchronous")
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = reading
        if waiting:
            yield waiting[0], waiting[1].result()


def flat_pixels(block_cyx: np.ndarray) -> np.ndarray:
    """Reshape a block to (channels, pixels), of a dtype that kernels are compiled for; a view if possible."""
    return block_cyx.astype(exact_dtype(block_cyx.dtype), copy=False).reshape(len(block_cyx), -1)


def exact_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(EXACT_DTYPES.get(dtype.str[1:], "f8"))
