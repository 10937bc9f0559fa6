"""Windows of a slide that hold whole shapes, and the weights that pool a map over them. numpy and torch.

Every shape is whole in exactly one crop, so no border ever cuts a shape.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from pixnet_sd._raster.grid import Window, round_up
from pixnet_sd._zonal.coverage import coverage
from pixnet_sd._zonal.shapes import Shapes

# Candidates for the side of the lattice's cells, in multiples of the alignment.
CELLS = (1, 2, 4, 8, 16, 32)
LARGEST_CELL_PX = 512


@dataclass(frozen=True)
class Crop:
    """A window and the shapes in it."""

    window: Window
    """In pixels of the picture; its origin and sides are multiples of the alignment."""
    rows: np.ndarray
    """Numbers of its shapes."""


@dataclass(frozen=True)
class Layout:
    """A lattice: shapes whose middle is in one cell share a crop."""

    cell_px: int
    """Side of a cell."""
    pad_px: int
    """Pixels around a cell that belong to its crop: half a shape, and the decoder's margin."""

    @property
    def crop_px(self) -> int:
        return self.cell_px + 2 * self.pad_px


def choose_layout(shapes: Shapes, alignment: int, margin_px: int) -> Layout:
    """Choose the cells that need the fewest pixels over all crops."""
    extent = np.nanmax(shapes.bounds[:, 2:] - shapes.bounds[:, :2])
    pad = round_up(int(np.ceil(extent / 2)) + margin_px, alignment)
    sides = [factor * alignment for factor in CELLS if factor == 1 or factor * alignment <= LARGEST_CELL_PX]
    layouts = [Layout(side, pad) for side in sides]
    return min(layouts, key=lambda layout: len(np.unique(assign_cells(shapes, layout), axis=0)) * layout.crop_px**2)


def assign_cells(shapes: Shapes, layout: Layout) -> np.ndarray:
    """Return (n, 2) row and column of each shape's cell."""
    middle = (shapes.bounds[:, :2] + shapes.bounds[:, 2:])[:, ::-1] / 2
    return np.floor(middle / layout.cell_px).astype(np.int64)


def make_crops(shapes: Shapes, layout: Layout) -> list[Crop]:
    """Group all shapes that have an area by cell."""
    real = np.flatnonzero(shapes.area > 0)
    cells, owner = np.unique(assign_cells(shapes.take(real), layout), axis=0, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    rows = np.split(real[order], np.flatnonzero(np.diff(owner[order])) + 1)
    return [Crop(crop_window(cell, layout), members) for cell, members in zip(cells, rows, strict=True)]


def crop_window(cell: np.ndarray, layout: Layout) -> Window:
    y0, x0 = (int(place) * layout.cell_px - layout.pad_px for place in cell)
    return Window(y0, x0, y0 + layout.crop_px, x0 + layout.crop_px)


def crop_rows(crops: Sequence[Crop]) -> np.ndarray:
    """Concatenate the numbers of the shapes in some crops."""
    return np.concatenate([crop.rows for crop in crops])


def crop_weights(shapes: Shapes, crops: Sequence[Crop], stride: int) -> sp.csr_array:
    """Compute (shapes of all crops, pixels of all crops at `stride`) covered shares; shapes are in those pixels too."""
    blocks = [coverage(shapes.take(crop.rows), crop.window.coarsened(stride)) for crop in crops]
    return sp.csr_array(sp.block_diag(blocks, format="csr"))


def sparse_tensor(weights: sp.csr_array) -> torch.Tensor:
    """Convert to torch, in single precision."""
    start, places = (torch.from_numpy(part.astype(np.int64)) for part in (weights.indptr, weights.indices))
    values = torch.from_numpy(weights.data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)  # "in beta", on first use
        return torch.sparse_csr_tensor(start, places, values, weights.shape)
