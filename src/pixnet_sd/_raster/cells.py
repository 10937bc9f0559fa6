"""Nuclei, or cells around them, of one tile of a picture, as polygons. Knows neither torch nor spatialdata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skimage.segmentation import expand_labels

from pixnet_sd._raster.basins import BEYOND, Basins, are_seeded_in, reach_of, split_mask
from pixnet_sd._raster.contours import trace_labels
from pixnet_sd._raster.grid import Tile, Window, round_up
from pixnet_sd._raster.picture import Picture

RIM_STRIDES = 2
"""White beyond the picture's edges that is looked at, in strides: its last pixels stand for all that follow."""

Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Detector:
    """What finds nuclei in an array, and how far it looks."""

    detect: Detect
    """uint8 (3, y, x) -> mask and height, (y, x)."""
    reach: int
    """Pixels away that a value depends on."""
    stride: int
    """Windows begin at multiples of it."""


@dataclass(frozen=True)
class CellOptions:
    """Sizes, in pixels of the picture."""

    smallest: float
    """Area below which an object is dropped."""
    farthest: int
    """Distance from a seed along x or y beyond which its object is no nucleus, and is dropped."""
    expand: int = 0
    """How far cells reach beyond their nuclei, where no other one is nearer."""

    @property
    def context(self) -> int:
        """Return the pixels around a core in which objects must be right: all that may limit one of the core."""
        return 2 * (self.farthest + self.expand) if self.expand else 0

    def margin(self, detector: Detector) -> int:
        """Return the pixels to read around a core."""
        return self.context + self.farthest + BEYOND + detector.reach


@dataclass(frozen=True)
class Cells:
    """Of one tile."""

    polygons: np.ndarray
    """In pixels of the picture."""
    seeds_yx: np.ndarray
    """(cells, 2): a pixel of each, by which cells of several tiles are put in order."""


NO_CELLS = Cells(np.empty(0, object), np.empty((0, 2), np.int64))


def find_cells(picture: Picture, tile: Tile, detector: Detector, options: CellOptions) -> Cells:
    """Find the cells whose seeds are in the core of a tile, which was read with the margin that `options` ask for."""
    window = tile.read.clip(with_rim(picture, detector.stride))
    corner = (window.y0, window.x0)
    mask, height = detector.detect(picture.read(window))
    mask = mask & inside_of(picture, window)
    basins = split_mask(mask, height, corner)
    basins = basins.keep(are_nuclei(basins, options) & are_seeded_in(basins, tile.core.grow(options.context), corner))
    labels = basins.labels
    if options.expand:
        labels = expand_labels(labels, options.expand) * inside_of(picture, window)
    owned = np.flatnonzero(are_seeded_in(basins, tile.core, corner))
    if not len(owned):
        return NO_CELLS
    polygons = trace_labels(labels, owned + 1, (corner[1], corner[0]))
    return Cells(polygons, basins.seeds_yx[owned] + corner)


def are_nuclei(basins: Basins, options: CellOptions) -> np.ndarray:
    areas = np.bincount(basins.labels.ravel(), minlength=len(basins.seeds_yx) + 1)[1:]
    return (areas >= options.smallest) & (reach_of(basins) <= options.farthest)


def with_rim(picture: Picture, stride: int) -> Window:
    """Return the window that is looked at: the picture and a little white around it, which goes on for ever."""
    height, width = picture.grid.shape
    return Window(0, 0, round_up(height, stride), round_up(width, stride)).grow(RIM_STRIDES * stride)


def inside_of(picture: Picture, window: Window) -> np.ndarray:
    """Tell which pixels of a window the picture has."""
    inside = np.zeros(window.shape, bool)
    inside[window.clip(picture.grid.window).relative_to(window).slices] = True
    return inside
