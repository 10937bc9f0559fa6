"""A window of a synthetic section, put together: what lies at each pixel and which cell it belongs to. Arrays only."""

from typing import NamedTuple

import numpy as np

from pixnet_sd._raster.grid import Window
from pixnet_sd.datasets._synthetic.cells import NearestCells
from pixnet_sd.datasets._synthetic.fields import Fields
from pixnet_sd.datasets._synthetic.nuclei import CELL_TYPES, Nuclei

NO_CELL = len(CELL_TYPES)


class Compartments(NamedTuple):
    """Shares in [0, 1] of each pixel, with the soft borders of an optical section."""

    tissue: np.ndarray
    epithelium: np.ndarray
    lumen: np.ndarray
    apical: np.ndarray
    """The lumen's side of the epithelium."""
    nest: np.ndarray
    stroma: np.ndarray


class SectionWindow(NamedTuple):
    """All that is known of a window: what lies there, and which cell."""

    window: Window
    fields: Fields
    parts: Compartments
    cells: NearestCells
    kind: np.ndarray
    """Kind of the nearest cell; `NO_CELL` where none reaches."""
    trait: np.ndarray
    """(2, y, x): traits of the nearest cell; 0.5 where none reaches."""
    size: np.ndarray
    """Mean radius in µm of the nearest nucleus."""
    nucleus: np.ndarray
    """Share in [0, 1] of the pixel that is nucleus."""
    nucleolus: np.ndarray
    """1 at the nucleolus of the nearest nucleus, 0 away from it."""


def soft_step(distance: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Return a step from 0 to 1 with 0.5 at the border and a half-width of `width`."""
    t = np.clip(0.5 + 0.5 * distance / np.float32(width), 0, 1)
    return t * t * (3 - 2 * t)


def cell_compartments(fields: Fields) -> Compartments:
    tissue = soft_step(fields.edge, 0.8)
    gland, lumen = soft_step(fields.depth, 0.8), soft_step(fields.depth - fields.wall, 0.9)
    nest = soft_step(fields.nest, 2.0)
    epithelium = tissue * gland * (1 - lumen)
    apical = epithelium * soft_step(fields.depth - 0.62 * fields.wall, 5.0)
    stroma = tissue * (1 - gland) * (1 - nest)
    return Compartments(tissue, epithelium, tissue * lumen, apical, tissue * nest * (1 - gland), stroma)


def section_of(window: Window, fields: Fields, nuclei: Nuclei, cells: NearestCells) -> SectionWindow:
    """Look up, for every pixel, what the cell it lies in is like."""
    parts = cell_compartments(fields)
    kind = np.append(nuclei.kind, NO_CELL)[cells.owner]
    trait = np.vstack([nuclei.trait, np.full((1, 2), 0.5)]).astype(np.float32).T[:, cells.owner]
    size = np.append(np.sqrt(nuclei.form[:, 0] * nuclei.form[:, 1]), 1.0).astype(np.float32)[cells.owner]
    # The border is as soft in µm for every nucleus: light microscopy resolves about half a µm.
    nucleus = soft_step((1 - cells.radius) * size, 0.55) * parts.tissue
    nucleolus = soft_step(0.8 - cells.nucleolus_um, 0.45)
    return SectionWindow(window, fields, parts, cells, kind, trait, size, nucleus, nucleolus)
