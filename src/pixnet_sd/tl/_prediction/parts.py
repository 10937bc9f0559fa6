"""Cut the tiles of a raster into parts for several processes, none of which writes into a file of another.

Numbers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pixnet_sd._raster.grid import Window


def split_parts(
    windows: Mapping[int, Window], file_px: tuple[int, int], batch_size: int, count: int
) -> list[list[int]]:
    """`count` lists of tiles, in order and about equally long; some are empty where there is too little to share."""
    cut: list[list[int]] = [[] for _ in range(count)]
    done = 0
    for group in group_tiles(windows, file_px, batch_size):
        middle = done + len(group) / 2
        cut[int(middle * count / len(windows))] += group
        done += len(group)
    return [sorted(part) for part in cut]


def group_tiles(windows: Mapping[int, Window], file_px: tuple[int, int], batch_size: int) -> list[list[int]]:
    """Tiles that must stay together: they are computed in one batch, or fill one file. In the order of the first."""
    numbers = sorted(windows)
    places: dict[tuple[int, int], int] = {}
    rows, columns = [], []
    for row, number in enumerate(numbers):
        for tie in iterate_ties(number, windows[number], file_px, batch_size):
            rows.append(row)
            columns.append(len(numbers) + places.setdefault(tie, len(places)))
    total = len(numbers) + len(places)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(total, total))
    labels = connected_components(graph, directed=False)[1] if total else []
    groups: dict[int, list[int]] = {}
    for number, label in zip(numbers, labels, strict=False):
        groups.setdefault(int(label), []).append(number)
    return list(groups.values())


def iterate_ties(number: int, window: Window, file_px: tuple[int, int], batch_size: int) -> Iterator[tuple[int, int]]:
    """Its batch, and the files (row, column) that it fills."""
    yield -1, number // batch_size
    height, width = file_px
    for row in range(window.y0 // height, -(-window.y1 // height)):
        for column in range(window.x0 // width, -(-window.x1 // width)):
            yield row, column
