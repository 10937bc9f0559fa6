"""Where what lies in a synthetic section: outline, glands, tumour nests, lymphocytes, fibres. All lengths in µm.

Every structure is a function of a seed and a place, so any pixel can be asked alone. Distances are signed and nearly
Euclidean: positive inside. Knows numpy and numba only.
"""

import math
from collections import namedtuple

import numpy as np

from pixnet_sd._raster.compiled import njit
from pixnet_sd.datasets._synthetic.noise import fractal_noise, smooth_noise, uniform_at

GLAND_PITCH_UM = 112.0
SITES_AROUND = 2
FAR_UM = 200.0
GLASS_UM = -3.0
"""So far outside the outline nothing is asked but the outline."""

FORWARD_UM = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
"""Steps (y, x) for a slope by differences."""

Plan = namedtuple(
    "Plan", "height width seed macro octaves tumour_y tumour_x tumour_radius gland_y gland_x fibre_y fibre_x"
)
"""What is decided once for a slide: its size, the scale of its outline and how often that halves, where the tumour
lies, where the gland lattice begins, and the main direction of its fibres."""

GlandTable = namedtuple("GlandTable", "sites i0 j0 lattice_y lattice_x")
"""Glands of a jittered lattice: (rows, columns, 8) numbers a site, the lattice place of the first
one, and where the lattice begins."""

Anatomy = namedtuple("Anatomy", "edge depth wall secretion nest lymph")
"""At one place: distance from the outline, depth below the nearest gland's base, thickness of that gland's epithelium,
its secretion, depth in a tumour nest, and density of lymphocytes in [0, 1]."""


def plan_slide(height_um: float, width_um: float, seed: int) -> Plan:
    rng = np.random.default_rng(seed)
    side = min(height_um, width_um)
    side_share = rng.choice([0.27, 0.73], size=2) + rng.uniform(-0.05, 0.05, 2)
    tumour_y, tumour_x = float(side_share[0] * height_um), float(side_share[1] * width_um)
    angle = rng.uniform(0, math.pi)
    macro = max(0.4 * side, 60.0)
    fibre_y, fibre_x = math.sin(angle), math.cos(angle)
    # One number from all bits of the seed, small enough that adding a layer's own offset never overflows.
    mixed = int(rng.integers(2**40))
    octaves = 1 + int(math.log2(macro / 50.0))
    tumour = (tumour_y, tumour_x, 0.24 * side)
    # The gland of the lattice's first site lies opposite the tumour, so that even a small slide has one.
    glands = (height_um - tumour_y - 0.5 * GLAND_PITCH_UM, width_um - tumour_x - 0.75 * GLAND_PITCH_UM)
    return Plan(float(height_um), float(width_um), mixed, macro, octaves, *tumour, *glands, fibre_y, fibre_x)


@njit(nogil=True)
def smooth_step(low, high, value):
    """0 up to `low`, 1 from `high` on, smooth between; falls where `high` is the smaller."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(nogil=True)
def edge_distance(plan, y, x):
    """Distance inside the section's outline: a rounded box with ragged, bitten sides."""
    half_y, half_x = 0.46 * plan.height, 0.46 * plan.width
    radius = 0.6 * min(half_y, half_x)
    qy, qx = abs(y - plan.height / 2) - half_y + radius, abs(x - plan.width / 2) - half_x + radius
    box = radius - math.hypot(max(qy, 0.0), max(qx, 0.0)) - min(max(qy, qx), 0.0)
    ragged = 0.14 * plan.macro * fractal_noise(x, y, plan.macro, plan.octaves, plan.seed + 1)
    distance = box + ragged
    # Frayed where it shows only: farther inside, the two noises would cost and change nothing that is seen.
    frayed = smooth_step(60.0, 30.0, abs(distance))
    if frayed > 0.0:
        distance += frayed * (
            5.0 * smooth_noise(x, y, 30.0, plan.seed + 2) + 1.5 * smooth_noise(x, y, 7.0, plan.seed + 3)
        )
    return distance


@njit(nogil=True)
def tumour_depth(plan, y, x):
    around = plan.tumour_radius - math.hypot(y - plan.tumour_y, x - plan.tumour_x)
    lobes = fractal_noise(x, y, 0.9 * plan.tumour_radius, 5, plan.seed + 11)
    return around + 0.45 * plan.tumour_radius * lobes


@njit(nogil=True)
def nest_depth(plan, tumour, y, x):
    """Depth in a nest of tumour cells; strands of stroma part the nests."""
    if tumour < 0:
        return tumour
    strand = 62.0 * (0.27 + fractal_noise(x, y, 95.0, 2, plan.seed + 21)) + 8.0 * smooth_noise(
        x, y, 17.0, plan.seed + 22
    )
    return min(tumour, strand)


@njit(nogil=True)
def lymphocyte_density(plan, tumour, y, x):
    """Clusters, more of them around the tumour."""
    field = fractal_noise(x, y, 130.0, 3, plan.seed + 31)
    return smooth_step(0.42, 0.80, field + 0.30 * math.exp(-((tumour / 70.0) ** 2)))


@njit(nogil=True)
def place_gland(plan, i, j, site):
    """Fill `site`: y, x, semi-axes (the first 0: no gland), sine, cosine, thickness of the epithelium, secretion."""
    seed = plan.seed + 41
    first = i == 0 and j == 0
    stray = 0.0 if first else 0.5
    y = plan.gland_y + (i + 0.5 + stray * (uniform_at(seed, i, j) - 0.5)) * GLAND_PITCH_UM
    x = plan.gland_x + (j + (0.25 if i % 2 else 0.75) + stray * (uniform_at(seed + 1, i, j) - 0.5)) * GLAND_PITCH_UM
    short = min(30.0 + 17.0 * uniform_at(seed + 2, i, j), 0.45 * plan.macro)
    long = short * (1.1 if first else 1.05 + 0.6 * uniform_at(seed + 3, i, j))
    angle = math.pi * uniform_at(seed + 4, i, j)
    # Lobules with many glands and stroma with few; a small slide lies in a lobule.
    lobule = 1.5 * fractal_noise(x, y, 700.0, 3, plan.seed + 51) + 0.9 * math.exp(-plan.macro / 350.0)
    wanted = lobule + 0.8 * uniform_at(seed + 5, i, j) > 0.2
    there = wanted and edge_distance(plan, y, x) > 0.75 * long and tumour_depth(plan, y, x) < -0.9 * long
    site[0], site[1], site[2], site[3] = y, x, (long if there or first else 0.0), short
    site[4], site[5] = math.sin(angle), math.cos(angle)
    site[6], site[7] = 17.0 + 9.0 * uniform_at(seed + 6, i, j), uniform_at(seed + 7, i, j)


@njit(nogil=True)
def site_index(place_um):
    return int(math.floor(place_um / GLAND_PITCH_UM))


@njit(nogil=True)
def gland_table(plan, y0, x0, y1, x1):
    """Return the glands that any place in the rectangle can ask for."""
    # One site more than a search needs: places are warped by a few µm before they are searched around.
    i0, j0 = site_index(y0 - plan.gland_y) - SITES_AROUND - 1, site_index(x0 - plan.gland_x) - SITES_AROUND - 1
    i1, j1 = site_index(y1 - plan.gland_y) + SITES_AROUND + 2, site_index(x1 - plan.gland_x) + SITES_AROUND + 2
    sites = np.empty((i1 - i0, j1 - j0, 8))
    for i in range(i0, i1):
        for j in range(j0, j1):
            place_gland(plan, i, j, sites[i - i0, j - j0])
    return GlandTable(sites, i0, j0, plan.gland_y, plan.gland_x)


@njit(nogil=True)
def ellipse_distance(site, y, x):
    """Signed distance from a gland's outline, negative inside; first order (Quilez)."""
    dy, dx = y - site[0], x - site[1]
    along, across = dx * site[5] + dy * site[4], dy * site[5] - dx * site[4]
    u, v = along / site[2], across / site[3]
    k0, k1 = math.hypot(u, v), math.hypot(u / site[2], v / site[3])
    return k0 * (k0 - 1.0) / max(k1, 1e-9)


@njit(nogil=True)
def nearest_gland(glands, y, x):
    """Distances from the nearest and the second nearest gland, and the nearest one's row and column in the table."""
    row, column = site_index(y - glands.lattice_y) - glands.i0, site_index(x - glands.lattice_x) - glands.j0
    first, second, best_i, best_j = FAR_UM, FAR_UM, 0, 0
    rows, columns = glands.sites.shape[:2]
    for i in range(max(row - SITES_AROUND, 0), min(row + SITES_AROUND + 1, rows)):
        for j in range(max(column - SITES_AROUND, 0), min(column + SITES_AROUND + 1, columns)):
            site = glands.sites[i, j]
            reach = second + site[2]
            if site[2] == 0.0 or (reach > 0 and (y - site[0]) ** 2 + (x - site[1]) ** 2 > reach * reach):
                continue
            distance = ellipse_distance(site, y, x)
            if distance < first:
                first, second, best_i, best_j = distance, first, i, j
            elif distance < second:
                second = distance
    return first, second, best_i, best_j


@njit(nogil=True)
def gland_depth(plan, glands, y, x):
    """Depth in the nearest gland, its epithelium's thickness there, its secretion. Neighbors never merge."""
    seed = plan.seed + 61
    y_w = y + 8.0 * smooth_noise(x, y, 42.0, seed) + 2.2 * smooth_noise(x, y, 13.0, seed + 1)
    x_w = x + 8.0 * smooth_noise(x, y, 42.0, seed + 2) + 2.2 * smooth_noise(x, y, 13.0, seed + 3)
    first, second, i, j = nearest_gland(glands, y_w, x_w)
    depth = min(-first, 0.5 * (second - first) - 3.0) if first < 0 else -max(first, 0.0)
    wall = glands.sites[i, j, 6] + 4.5 * smooth_noise(x, y, 16.0, seed + 4)
    return depth, wall, glands.sites[i, j, 7]


@njit(nogil=True)
def anatomy_at(plan, glands, y, x):
    edge = edge_distance(plan, y, x)
    if edge < GLASS_UM:
        return Anatomy(edge, -FAR_UM, 0.0, 0.0, -FAR_UM, 0.0)
    tumour = tumour_depth(plan, y, x)
    depth, wall, secretion = gland_depth(plan, glands, y, x)
    nest = min(nest_depth(plan, tumour, y, x), -depth - 4.0) if depth > -8.0 else nest_depth(plan, tumour, y, x)
    return Anatomy(edge, depth, wall, secretion, nest, lymphocyte_density(plan, tumour, y, x))


@njit(nogil=True)
def fibre_coordinates(plan, depth, y, x):
    """Places across and along the fibres: a bent grid that wraps around glands and never degenerates."""
    seed = plan.seed + 71
    bend_across = 50.0 * smooth_noise(x, y, 120.0, seed) + 13.0 * smooth_noise(x, y, 36.0, seed + 1)
    crimp = 2.4 * smooth_noise(x, y, 12.0, seed + 2)
    bend_along = 50.0 * smooth_noise(x, y, 120.0, seed + 3) + 13.0 * smooth_noise(x, y, 36.0, seed + 4)
    wrap = 34.0 * (1.0 - math.exp(min(depth, 0.0) / 26.0))
    across = x * plan.fibre_x + y * plan.fibre_y + bend_across + crimp - wrap
    return across, y * plan.fibre_x - x * plan.fibre_y + bend_along


@njit(nogil=True)
def anatomy_of(plan, glands, y, x):
    """(6, n): the anatomy at n places."""
    values = np.empty((6, len(y)))
    for k in range(len(y)):
        values[:, k] = anatomy_at(plan, glands, y[k], x[k])
    return values


@njit(nogil=True)
def across_fibres(plan, depth, y, x):
    """Return the first of the fibre coordinates at n places of known depth."""
    across = np.empty(len(y))
    for k in range(len(y)):
        across[k] = fibre_coordinates(plan, depth[k], y[k], x[k])[0]
    return across


def gland_axis(plan: Plan, glands: GlandTable, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the angle that leads straight down into the gland, at n places."""
    here, below, right = (anatomy_of(plan, glands, y + dy, x + dx)[1] for dy, dx in FORWARD_UM)
    return np.arctan2(below - here, right - here)


def fibre_axis(plan: Plan, glands: GlandTable, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the angle along the fibres, at n places."""
    places = [(y + dy, x + dx) for dy, dx in FORWARD_UM]
    here, below, right = (across_fibres(plan, anatomy_of(plan, glands, *place)[1], *place) for place in places)
    return np.arctan2(right - here, here - below)
