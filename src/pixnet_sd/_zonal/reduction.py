"""Pooling on the workers of a dask cluster: a partial state per block, folded together as a tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal.accumulate import State, new_state
from pixnet_sd._zonal.blocks import flat_pixels
from pixnet_sd._zonal.shapes import Shapes

FAN_IN = 8
"""How many partial states one task of the tree folds together."""

Partial = tuple[np.ndarray, State]
"""The rows of the shapes that met some blocks, and their state."""


def pool_on_cluster(
    client: Any,
    shapes: Shapes,
    blocks: Iterable[tuple[np.ndarray, Window, Any]],
    n_channels: int,
    how: tuple[str, float],
) -> State:
    """Pool all blocks (rows of the shapes they meet, window, lazy pixels): a task each, then the tree."""
    from dask import delayed

    task, join = delayed(pool_block, pure=False), delayed(join_partials, pure=False)
    # A block takes only its own shapes along, whatever the number of all.
    level = [task(delayed(shapes.take(rows)), rows, window, block, how) for rows, window, block in blocks]
    while len(level) > 1:
        level = [join(level[k : k + FAN_IN], how) for k in range(0, len(level), FAN_IN)]
    state = new_state(len(shapes), n_channels, *how)
    if level:
        rows, partial = client.compute(level[0]).result()
        state.merge(partial, rows)
    return state


def pool_block(shapes: Shapes, rows: np.ndarray, window: Window, block: np.ndarray, how: tuple[str, float]) -> Partial:
    """Pool some shapes, which are `rows` of all, over one block."""
    state = new_state(len(shapes), len(block), *how)
    state.add(shapes, np.arange(len(shapes)), window, flat_pixels(block))
    return rows, state


def join_partials(partials: list[Partial], how: tuple[str, float]) -> Partial:
    rows = np.unique(np.concatenate([rows for rows, _ in partials]))
    joined = new_state(len(rows), partials[0][1].n_channels, *how)
    for part_rows, state in partials:
        joined.merge(state, np.searchsorted(rows, part_rows))  # type: ignore[arg-type]
    return rows, joined
