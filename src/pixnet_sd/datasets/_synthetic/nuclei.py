"""Which nuclei lie where, of what kind and shape. Lengths in µm. numpy and numba only.

Candidates sit on jittered lattices (stroma, clusters, nests) or on rings below the epithelium's base; a candidate stays
or goes by what lies at its own place. So a nucleus is the same whichever window asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pixnet_sd._raster.grid import Window
from pixnet_sd.datasets._synthetic.anatomy import (
    Anatomy,
    GlandTable,
    Plan,
    anatomy_of,
    fibre_axis,
    gland_axis,
    gland_table,
)
from pixnet_sd.datasets._synthetic.noise import bend_places, uniforms_at

CELL_TYPES = ("epithelial", "fibroblast", "lymphocyte", "tumour")
EPITHELIAL, FIBROBLAST, LYMPHOCYTE, TUMOUR = range(4)

REACH = 2.3
"""How far a cell reaches from its nucleus' center, in radii of the nucleus."""
REACH_UM = 25.0
"""No cell reaches farther than this."""
RING_REACH_UM = 95.0
"""No nucleus of a gland lies farther than this from the gland's center."""
RING_SPACING_UM = 5.6
BEND_UM = 20.0
"""No lattice site is bent away farther than this."""


@dataclass(frozen=True)
class Nuclei:
    """Nuclei as star-shaped outlines: a circle with ripples, stretched and turned."""

    y_um: np.ndarray
    x_um: np.ndarray
    form: np.ndarray
    """(n, 10): semi-axes, sine and cosine of the long axis, ripples cos 2, sin 2, cos 3, sin 3, nucleolus (y, x)."""
    kind: np.ndarray
    """Index into `CELL_TYPES`."""
    trait: np.ndarray
    """(n, 2) numbers in [0, 1) of the cell's own: darkness and activity."""

    def __len__(self) -> int:
        return len(self.y_um)

    def subset(self, rows: np.ndarray) -> Nuclei:
        return Nuclei(self.y_um[rows], self.x_um[rows], self.form[rows], self.kind[rows], self.trait[rows])


@dataclass(frozen=True)
class NucleusLattice:
    """Sites of one kind of nucleus."""

    kind: int
    pitch_um: float
    jitter: float
    """How far a nucleus strays from its site, as a share of the pitch, to each side."""


LATTICES = (
    NucleusLattice(FIBROBLAST, 12.0, 0.40),
    NucleusLattice(LYMPHOCYTE, 6.5, 0.32),
    NucleusLattice(TUMOUR, 11.8, 0.27),
)


def nuclei_near(plan: Plan, window: Window, mpp: float) -> Nuclei:
    """All nuclei whose cells may touch the window; some outside it as well."""
    y0, x0, y1, x1 = (side * mpp for side in (window.y0, window.x0, window.y1, window.x1))
    box = (y0 - REACH_UM, x0 - REACH_UM, y1 + REACH_UM, x1 + REACH_UM)
    glands = gland_table(plan, *grow_box(box, RING_REACH_UM))
    parts = [lattice_nuclei(plan, glands, lattice, box) for lattice in LATTICES] + [ring_nuclei(plan, glands)]
    nuclei = concatenate_nuclei(parts)
    near = (nuclei.y_um >= box[0]) & (nuclei.y_um < box[2]) & (nuclei.x_um >= box[1]) & (nuclei.x_um < box[3])
    return nuclei.subset(near)


def grow_box(box: tuple[float, ...], margin_um: float) -> tuple[float, ...]:
    return box[0] - margin_um, box[1] - margin_um, box[2] + margin_um, box[3] + margin_um


def concatenate_nuclei(parts: list[Nuclei]) -> Nuclei:
    fields = ("y_um", "x_um", "form", "kind", "trait")
    return Nuclei(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def lattice_nuclei(plan: Plan, glands: GlandTable, lattice: NucleusLattice, box: tuple[float, ...]) -> Nuclei:
    """Nuclei of a jittered lattice with every second row shifted by half a pitch."""
    pitch, seed = lattice.pitch_um, plan.seed + 1009 * (lattice.kind + 1)
    box = grow_box(box, BEND_UM)
    rows = np.arange(math.floor(box[0] / pitch) - 1, math.ceil(box[2] / pitch) + 1)
    columns = np.arange(math.floor(box[1] / pitch) - 2, math.ceil(box[3] / pitch) + 1)
    i, j = (sites.ravel() for sites in np.meshgrid(rows, columns, indexing="ij"))
    u = uniforms_at(seed, i, j, 12)
    y, x = bend_places((i + 0.5) * pitch, (j + 0.5 + 0.5 * (i % 2)) * pitch, seed)
    y, x = y + lattice.jitter * pitch * (2 * u[:, 0] - 1), x + lattice.jitter * pitch * (2 * u[:, 1] - 1)
    stays = u[:, 2] < CHANCES[lattice.kind](Anatomy(*anatomy_of(plan, glands, y, x)))
    u, y, x = u[stays, 3:], y[stays], x[stays]
    along_fibres = fibre_axis(plan, glands, y, x) if lattice.kind == FIBROBLAST else math.pi * u[:, 4]
    return draw_shapes(lattice.kind, y, x, along_fibres, u)


def fibroblast_chance(at: Anatomy) -> np.ndarray:
    open_stroma = (at.edge > 4) & (at.depth < -3.5) & (at.nest < -2)
    return open_stroma * (0.40 + 0.25 * (at.depth > -12)) * (1 - at.lymph)


def lymphocyte_chance(at: Anatomy) -> np.ndarray:
    return ((at.edge > 6) & (at.depth < -4.5)) * np.where(at.nest < -2, 0.012 + 0.93 * at.lymph, 0.012)


def tumour_chance(at: Anatomy) -> np.ndarray:
    return ((at.edge > 6) & (at.nest > 2.5)) * 0.93


CHANCES = {FIBROBLAST: fibroblast_chance, LYMPHOCYTE: lymphocyte_chance, TUMOUR: tumour_chance}


def ring_nuclei(plan: Plan, glands: GlandTable) -> Nuclei:
    """Epithelial nuclei: side by side, a little below each gland's base, some of them in a second row."""
    gland, i, j, turn = ring_sites(glands)
    u = uniforms_at(plan.seed + 5003, i, j, 10)
    angle = turn + (u[:, 0] - 0.5) * 0.7 * RING_SPACING_UM / gland[:, 3]
    wanted = 7.0 + 1.6 * (u[:, 1] - 0.5) + 6.0 * (u[:, 2] < 0.3) * u[:, 1]
    y, x, depth, edge = place_on_rays(plan, glands, gland, angle, wanted)
    stays = (np.abs(depth - wanted) < 1.2) & (edge > 5) & (u[:, 3] < 0.96)
    stays &= ~find_crowded(y, x, i)
    y, x, u = y[stays], x[stays], u[stays, 1:]
    return draw_shapes(EPITHELIAL, y, x, gland_axis(plan, glands, y, x) + 0.5 * (u[:, 4] - 0.5), u)


def ring_sites(glands: GlandTable) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each place on a ring: its gland's numbers, two numbers that name it, and its angle on the gland's ellipse."""
    row, column = np.nonzero(glands.sites[:, :, 2] > 0)
    gland = glands.sites[row, column]
    count = np.rint(math.pi * (gland[:, 2] + gland[:, 3] - 16) / RING_SPACING_UM).astype(np.int64)
    which = np.repeat(np.arange(len(gland)), count)
    k = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    name = (row + glands.i0)[which] * 4096 + k
    return gland[which], name, (column + glands.j0)[which], 2 * math.pi * k / count[which]


def place_on_rays(
    plan: Plan, glands: GlandTable, gland: np.ndarray, angle: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Walk along each ray from the gland's center to the wanted depth; says where, and the depth reached there."""
    across, along = gland[:, 3] * np.sin(angle), gland[:, 2] * np.cos(angle)
    ray_y, ray_x = along * gland[:, 4] + across * gland[:, 5], along * gland[:, 5] - across * gland[:, 4]
    length = np.hypot(ray_y, ray_x)
    ray_y, ray_x, r = ray_y / length, ray_x / length, length - wanted
    for _ in range(6):
        y, x = gland[:, 0] + r * ray_y, gland[:, 1] + r * ray_x
        at = Anatomy(*anatomy_of(plan, glands, y, x))
        r = r + np.where(np.abs(at.depth - wanted) < 0.5, 0.0, 0.8 * (at.depth - wanted))
    return y, x, at.depth, at.edge


def find_crowded(y: np.ndarray, x: np.ndarray, name: np.ndarray) -> np.ndarray:
    """Nuclei of odd name that lie too close to the one before or after them: never both of a pair.

    By name, not by row: a row's number depends on how many glands a window sees.
    """
    gap = np.hypot(np.diff(y), np.diff(x)) < 3.9
    close = np.append(gap, False) | np.insert(gap, 0, False)
    return close & (name % 2 == 1)


def draw_shapes(kind: int, y: np.ndarray, x: np.ndarray, angle: np.ndarray, u: np.ndarray) -> Nuclei:
    """Nuclei of one kind with sizes and ripples drawn from `u`, (n, 9) numbers in [0, 1)."""
    long, short, ripple = SIZES[kind](u)
    phase_2, phase_3 = 2 * math.pi * u[:, 5], 2 * math.pi * u[:, 6]
    ripples = (np.cos(phase_2), np.sin(phase_2), np.cos(phase_3), np.sin(phase_3))
    weights = ripple * np.array([[1.0], [1.0], [0.7], [0.7]])
    nucleolus = 0.9 * short * (u[:, [0, 4]].T - 0.5)
    form = np.stack([long, short, np.sin(angle), np.cos(angle), *(np.stack(ripples) * weights), *nucleolus], axis=1)
    return Nuclei(y, x, form, np.full(len(y), kind, np.int8), u[:, [7, 8]])


def epithelial_size(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    return 4.1 + 1.3 * u[:, 2], 2.7 + 0.7 * u[:, 3], 0.05


def fibroblast_size(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    return 4.2 + 4.2 * u[:, 2], 1.1 + 0.9 * u[:, 3] ** 2, 0.08


def lymphocyte_size(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    return 2.9 + 0.6 * u[:, 2], 2.7 + 0.5 * u[:, 3], 0.04


def tumour_size(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Few are very large: pleomorphic."""
    short = 3.2 + 2.2 * u[:, 2] ** 2
    return short * (1.05 + 0.45 * u[:, 3]), short, 0.075


SIZES = {
    EPITHELIAL: epithelial_size,
    FIBROBLAST: fibroblast_size,
    LYMPHOCYTE: lymphocyte_size,
    TUMOUR: tumour_size,
}
