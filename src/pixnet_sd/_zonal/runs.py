"""Labels as shapes: each is the union of the pixels that hold it, as runs along rows. numpy only."""

from __future__ import annotations

import numpy as np

from pixnet_sd._zonal.rings import Rings, measure_rings, to_offsets
from pixnet_sd._zonal.shapes import POLYGON, Shapes, check_distance, check_matrix, empty_ellipses


def find_runs(labels: np.ndarray, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Find the runs of equal pixels that are not 0, (n, 4): label, row, first column, column after the last."""
    begins = np.ones(labels.shape, bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    rows, first = np.nonzero(begins)
    after = np.append(first[1:], 0)
    # A row ends where the next run begins another one.
    after = np.where(after > first, after, labels.shape[1])
    runs = np.column_stack([labels[rows, first], rows + corner[0], first + corner[1], after + corner[1]])
    return runs.astype(np.int64)[labels[rows, first] != 0]


def from_runs(runs: np.ndarray, to_pixels: np.ndarray) -> tuple[np.ndarray, Shapes]:
    """Return the labels in ascending order, and the shape of each in pixels of a raster."""
    ids, owner = np.unique(runs[:, 0], return_inverse=True)
    y, x0, x1 = runs[np.argsort(owner, kind="stable"), 1:].T
    xy = np.stack([x0, y, x1, y, x1, y + 1, x0, y + 1, x0, y], axis=1).reshape(-1, 2).astype(float)
    boxes = Rings(xy, 5 * np.arange(len(runs) + 1), np.ones(len(runs)), to_offsets(np.bincount(owner)))
    rings, measures = measure_rings(boxes, check_matrix(to_pixels))
    kind = np.full(len(ids), POLYGON, np.uint8)
    return ids, check_distance(Shapes(kind, measures.bounds, measures.area, rings, empty_ellipses()))
