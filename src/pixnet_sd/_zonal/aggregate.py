"""Statistics of a raster's pixels within shapes, weighted by exact coverage. Arrays only: numpy or dask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from pixnet_sd._dask import active_client
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window
from pixnet_sd._settings import settings
from pixnet_sd._zonal.accumulate import ORDER_STATISTICS, STATISTICS, merge_equal_columns, new_state
from pixnet_sd._zonal.blocks import BLOCK_SIDE_PX, Block, as_raster, flat_pixels, plan_blocks, read_ahead
from pixnet_sd._zonal.index import ShapeFinder
from pixnet_sd._zonal.reduction import pool_on_cluster
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd._zonal.spans import BATCH_PX
from pixnet_sd._zonal.threads import thread_count


@dataclass(frozen=True, eq=False, slots=True)
class Pooled:
    """A statistic of n shapes in several channels."""

    values: np.ndarray
    """(n, channels) float64; NaN where nothing is covered."""
    covered: np.ndarray
    """Area in pixels within the raster that is not NaN: (n, 1), or (n, channels) where channels differ in their NaN."""


class Accumulator:
    """Pools blocks of a raster that never needs to exist as a whole.

    The blocks' windows must not overlap; their order and sizes do not matter. Statistics: "sum" of coverage x value,
    "mean", "std" (of the population), "min" and "max" over the pixels touched, "median" and "quantile" (at `quantile`).
    All but "min" and "max" weight each pixel by its covered area; NaN pixels are left out, of the area too.
    """

    def __init__(
        self,
        shapes: Shapes,
        n_channels: int,
        statistic: str = "sum",
        *,
        quantile: float = 0.5,
        finder: ShapeFinder | None = None,
    ) -> None:
        self.shapes, self.n_channels = shapes, n_channels
        self.how = statistic, quantile
        self.state = new_state(len(shapes), n_channels, statistic, quantile)
        self.finder = finder or ShapeFinder(shapes.bounds)

    def add(self, window: Window, block_cyx: np.ndarray) -> None:
        """Take in the pixels of a window."""
        if block_cyx.shape != (self.n_channels, *window.shape):
            expected = (self.n_channels, *window.shape)
            raise PixnetValueError(f"{window} of {self.n_channels} channels needs {expected}; got {block_cyx.shape}.")
        rows = self.finder.meeting(window)
        if rows.size:
            self.state.add(self.shapes, rows, window, flat_pixels(block_cyx))

    def merge(self, other: Accumulator) -> None:
        """Take in what another accumulator of the same shapes has seen of other windows."""
        if (len(other.shapes), other.n_channels, other.how) != (len(self.shapes), self.n_channels, self.how):
            mine, theirs = (f"{len(a.shapes)} shapes x {a.n_channels} channels, {a.how}" for a in (self, other))
            raise PixnetValueError(f"Only accumulators of the same work can be merged; got {mine} and {theirs}.")
        self.state.merge(other.state, np.arange(len(self.shapes)))  # type: ignore[arg-type]

    def result(self) -> Pooled:
        """Compute the statistic over what came in so far; more may follow."""
        return Pooled(*self.state.result())


def aggregate(
    raster: Any,
    shapes: Shapes,
    statistic: str = "sum",
    *,
    quantile: float = 0.5,
    progress: bool | None = None,
    block_limit: int | None = None,
) -> Pooled:
    """Compute a statistic of each shape in each channel of a raster (c, y, x): numpy, dask or zarr (see `Accumulator`).

    The raster streams through memory, each chunk read once, chunks that no shape meets not at all. `memory_bytes` says
    what is held. With an active dask.distributed client, its workers read and pool.
    """
    raster, how = as_raster(raster), (statistic, quantile)
    client = None if isinstance(raster, np.ndarray) else active_client()
    groups = plan_blocks(raster, block_limit or settings.block_limit)
    finder, parts = ShapeFinder(shapes.bounds), []
    shown = (settings.progress if progress is None else progress) and not client
    with tqdm(
        total=sum(map(len, groups)), desc="aggregate", unit="block", disable=not shown, leave=False, delay=0.5
    ) as bar:
        for group in groups:
            pool = pool_locally if client is None else partial(pool_remotely, client)
            parts.append(pool(raster, shapes, finder, group, how, bar))
    return join_channels(parts)


def pool_locally(
    raster: Any, shapes: Shapes, finder: ShapeFinder, blocks: list[Block], how: tuple[str, float], bar: tqdm
) -> Pooled:
    """Pool one group of channels in this process."""
    accumulator = Accumulator(shapes, channel_count(blocks), how[0], quantile=how[1], finder=finder)
    met = blocks if isinstance(raster, np.ndarray) else [b for b in blocks if finder.meeting(b.window).size]
    bar.total -= len(blocks) - len(met)
    for block, pixels in read_ahead(raster, met):
        accumulator.add(block.window, pixels)
        bar.update()
    return accumulator.result()


def pool_remotely(
    client: Any,
    raster: Any,
    shapes: Shapes,
    finder: ShapeFinder,
    blocks: list[Block],
    how: tuple[str, float],
    bar: tqdm,
) -> Pooled:
    """Pool one group of channels on the workers of a cluster."""
    met = ((finder.meeting(block.window), block) for block in blocks)
    lazy = [(rows, block.window, raster[block.slices]) for rows, block in met if rows.size]
    return Pooled(*pool_on_cluster(client, shapes, lazy, channel_count(blocks), how).result())


def channel_count(blocks: list[Block]) -> int:
    return blocks[0].channels.stop - blocks[0].channels.start


def join_channels(parts: list[Pooled]) -> Pooled:
    """Join groups of channels side by side."""
    if len(parts) == 1:
        return parts[0]
    covered = [np.broadcast_to(part.covered, part.values.shape) for part in parts]
    return Pooled(np.hstack([part.values for part in parts]), merge_equal_columns(np.hstack(covered)))


def memory_bytes(
    n_shapes: int,
    n_channels: int,
    statistic: str = "sum",
    *,
    width_px: int = BLOCK_SIDE_PX,
    block_limit: int | None = None,
    covered_px: int = 0,
    itemsize: int = 4,
) -> int:
    """Bound what `aggregate` takes beside shapes and result, for a raster of any size.

    Two blocks in flight, of `block_limit` bytes and at most `width_px` wide; per shape and channel 8 bytes for each
    array of the statistic (1, for "std" 3) and for NaN (taken only where there are any); per shape 9 bytes of areas
    and 60 to find it; per thread four buffers of a batch. A quantile keeps the value and weight of each of the
    `covered_px` pixels (counted once per shape that covers them), twice while it sorts: it is meant for cells, not
    for whole sections.
    """
    blocks = 2 * (block_limit or settings.block_limit)
    batches = thread_count() * 4 * 8 * 2 * max(BATCH_PX, width_px + 2)
    kept = len(STATISTICS[statistic].blank) if statistic in STATISTICS else 1
    state = n_shapes * (n_channels * 8 * (kept + 1) + 9 + 60)
    records = 2 * covered_px * (16 + n_channels * itemsize) if statistic in ORDER_STATISTICS else 0
    return blocks + batches + state + records


TABLE_BYTES = 8
"""For each shape and gene: float32, and a copy while it becomes a table."""


def table_bytes(n_shapes: int, n_genes: int) -> int:
    """Bound what a table takes at its largest, on top of what pooling holds. It keeps 4 bytes a value."""
    return n_shapes * n_genes * TABLE_BYTES
