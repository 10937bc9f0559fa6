"""A synthetic H&E section whose truth is known everywhere, computed window by window. numpy, numba and shapely only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window, make_tiles
from pixnet_sd._raster.stain import from_density, mix_stains, unit_rows
from pixnet_sd.datasets._synthetic.anatomy import Plan, plan_slide
from pixnet_sd.datasets._synthetic.cells import nearest_cells, whole_outlines_px
from pixnet_sd.datasets._synthetic.fields import edge_of, sample_fields
from pixnet_sd.datasets._synthetic.noise import camera_noise
from pixnet_sd.datasets._synthetic.nuclei import CELL_TYPES, nuclei_near
from pixnet_sd.datasets._synthetic.panel import GENES, PROGRAMS, panel_loadings
from pixnet_sd.datasets._synthetic.programs import program_rates
from pixnet_sd.datasets._synthetic.section import SectionWindow, section_of
from pixnet_sd.datasets._synthetic.shading import stain_concentrations

# Hematoxylin and eosin as scanners see them, with more blue in both than in Ruifrok and Johnston's.
SLIDE_STAINS = unit_rows([(0.60, 0.71, 0.36), (0.16, 0.83, 0.49)])
GLASS_DENSITY = np.array([0.018, 0.021, 0.030], np.float32)[:, None, None]
CAMERA_SD_LEVELS = 1.6
BLOCK_PX = 512
CELL_BLOCK_PX = 4096
FINEST_MPP, COARSEST_MPP = 0.05, 20.0


@dataclass(frozen=True)
class Histology:
    """A deterministic section. Any split into windows gives the same pixels; nothing larger than a window is held.

    Structures have their size in µm: `mpp` changes how finely they are sampled, and nothing else. A slide of another
    size in µm is another slide, as is one of another seed.
    """

    height_px: int
    """Rows of the image."""
    width_px: int
    """Columns of the image."""
    mpp: float = 0.5
    """µm per pixel."""
    seed: int = 0
    """Which slide."""

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px) < 1 or not FINEST_MPP <= self.mpp <= COARSEST_MPP or self.seed < 0:
            raise PixnetValueError(
                f"A section needs at least 1 x 1 px, {FINEST_MPP} to {COARSEST_MPP} µm/px and a seed of 0 or more; "
                f"got {self.height_px} x {self.width_px} px, {self.mpp} µm/px and seed {self.seed}."
            )

    @property
    def window(self) -> Window:
        return Window(0, 0, self.height_px, self.width_px)

    @property
    def plan(self) -> Plan:
        return plan_slide(self.height_px * self.mpp, self.width_px * self.mpp, self.seed)

    @property
    def program_names(self) -> tuple[str, ...]:
        return PROGRAMS

    @property
    def genes(self) -> tuple[str, ...]:
        return GENES

    @property
    def loadings(self) -> np.ndarray:
        """Return loadings (programs, genes), float32, rows sum to 1. They do not depend on the seed."""
        return panel_loadings()

    def image(self, window: Window) -> np.ndarray:
        """Render the H&E image as RGB, uint8, (3, y, x)."""
        image = np.empty((3, *window.shape), np.uint8)
        for rows, columns, section in self.sections(window):
            image[:, rows, columns] = self.expose(section)
        return image

    def programs(self, window: Window) -> np.ndarray:
        """Compute expected molecules per µm² of each program, float32, (programs, y, x). Zero on glass."""
        rates = np.empty((len(PROGRAMS), *window.shape), np.float32)
        for rows, columns, section in self.sections(window):
            rates[:, rows, columns] = program_rates(section)
        return rates

    def tissue(self, window: Window) -> np.ndarray:
        """Return the tissue mask, bool, (y, x); it includes lumens, but not smears."""
        return edge_of(self.plan, window, self.mpp) > 0

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Return outlines of all whole nuclei as shapely polygons in pixels, and their type names."""
        blocks = list(self.cell_blocks())
        names = np.array(CELL_TYPES)
        return np.concatenate([cells for cells, _ in blocks]), names[np.concatenate([kind for _, kind in blocks])]

    def cell_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        plan = self.plan
        for tile in make_tiles(self.height_px, self.width_px, size=CELL_BLOCK_PX):
            nuclei = nuclei_near(plan, tile.core, self.mpp)
            cells, rows = whole_outlines_px(nuclei, tile.core, self.window, self.mpp)
            yield cells, nuclei.kind[rows]

    def sections(self, window: Window) -> Iterator[tuple[slice, slice, SectionWindow]]:
        """Yield parts of a window that fit into the processor's cache, with their rows and columns."""
        for tile in make_tiles(*window.shape, size=BLOCK_PX):
            yield *tile.core.slices, self.section(tile.core.shift(window.y0, window.x0))

    def section(self, window: Window) -> SectionWindow:
        """Compute the anatomy and the cells of a window, from which image and programs are made."""
        plan = self.plan
        nuclei = nuclei_near(plan, window, self.mpp)
        fields, cells = sample_fields(plan, window, self.mpp), nearest_cells(nuclei, window, self.mpp)
        return section_of(window, fields, nuclei, cells)

    def expose(self, section: SectionWindow) -> np.ndarray:
        """Simulate a camera: Beer-Lambert law through both stains and the glass, and a little noise."""
        window, (h, e) = section.window, stain_concentrations(section)
        noise = camera_noise(*window.shape, window.y0, window.x0, self.plan.seed)
        return from_density(mix_stains(h, e, SLIDE_STAINS) + GLASS_DENSITY, CAMERA_SD_LEVELS * noise)
