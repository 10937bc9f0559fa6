"""How much hematoxylin and eosin each pixel of a synthetic section holds. Arrays (y, x) only."""

import numpy as np

from pixnet_sd.datasets._synthetic.fields import Fields
from pixnet_sd.datasets._synthetic.nuclei import EPITHELIAL, LYMPHOCYTE
from pixnet_sd.datasets._synthetic.section import SectionWindow, soft_step


def stain_concentrations(section: SectionWindow) -> tuple[np.ndarray, np.ndarray]:
    """Compute concentrations of hematoxylin and eosin."""
    h, e = shade_cytoplasm(section)
    h_nucleus, e_nucleus = shade_nuclei(section)
    h, e = (below + section.nucleus * (above - below) for below, above in ((h, h_nucleus), (e, e_nucleus)))
    cloud = section.fields.cloud
    h, e = h * (1 + 0.10 * cloud), e * (1 - 0.13 * cloud)
    return np.maximum(h, 0), np.maximum(e, 0) + 0.16 * section.fields.smear


def shade_cytoplasm(section: SectionWindow) -> tuple[np.ndarray, np.ndarray]:
    """Compute concentrations outside nuclei."""
    fields, parts, grain = section.fields, section.parts, section.fields.grain
    border = cell_border(section)
    h = parts.stroma * (0.02 + 0.03 * fields.fibre)
    e = parts.stroma * (0.04 + 0.43 * fields.fibre) * (1 + 0.2 * grain)
    h += parts.epithelium * (0.17 + 0.05 * grain + 0.05 * border) - parts.apical * 0.07
    e += parts.epithelium * (0.25 + 0.06 * grain + 0.08 * border) - parts.apical * 0.03
    h += parts.nest * (0.13 + 0.06 * grain + 0.05 * border)
    e += parts.nest * (0.23 + 0.09 * grain + 0.07 * border)
    h, e = (below + goblet_share(section) * (mucin - below) for below, mucin in ((h, 0.06), (e, 0.04 + 0.03 * grain)))
    e += membrane_eosin(fields) * parts.tissue + parts.lumen * secretion_density(fields)
    plasma = np.exp(-(section.cells.radius**2)) * (section.kind == LYMPHOCYTE) * parts.stroma
    return h + 0.12 * plasma, e * (1 + 0.25 * np.exp(-np.maximum(fields.edge, 0) / 4))


def cell_border(section: SectionWindow) -> np.ndarray:
    """Return 1 between two cells, falling to 0 away from their border."""
    between = (section.cells.runner_up - section.cells.radius) / np.float32(0.11)
    return np.exp(-(between**2)) * (section.cells.owner >= 0)


def goblet_share(section: SectionWindow) -> np.ndarray:
    """Compute the share of mucin: a vacuole on the luminal side of some epithelial cells."""
    mucous = (section.kind == EPITHELIAL) & (section.trait[1] > 0.62)
    vacuole = soft_step(section.cells.runner_up - section.cells.radius - 0.22, 0.16) * section.parts.apical
    return mucous * vacuole * (1 - section.nucleus) * 0.85


def membrane_eosin(fields: Fields) -> np.ndarray:
    """Compute eosin of the basement membrane and of the luminal rim of glands."""
    base = np.exp(-(((fields.depth + 0.3) / 1.0) ** 2))
    rim = np.exp(-(((fields.depth - fields.wall + 0.6) / 0.9) ** 2))
    return 0.09 * base + 0.12 * rim


def secretion_density(fields: Fields) -> np.ndarray:
    """Compute the density of secretion, which only some lumens have."""
    wisp = np.clip(0.55 * fields.cloud + 0.30 * fields.grain + 1.2 * fields.secretion - 0.75, 0, 1)
    return 0.012 + 0.22 * wisp


# One number a kind of nucleus, in the order of CELL_TYPES; the last is for pixels without a cell.
DARKNESS = np.array([0.66, 0.80, 0.98, 0.42, 0.0], np.float32)
CLUMPING = np.array([0.26, 0.14, 0.30, 0.45, 0.0], np.float32)
RIM = np.array([0.22, 0.05, 0.10, 0.60, 0.0], np.float32)
NUCLEOLUS = np.array([0.15, 0.0, 0.0, 0.55, 0.0], np.float32)


def shade_nuclei(section: SectionWindow) -> tuple[np.ndarray, np.ndarray]:
    """Compute concentrations in nuclei: clumps, a darker membrane, a nucleolus in tumor cells."""
    kind = section.kind
    membrane = np.exp(-((((1 - section.cells.radius) * section.size - 0.5) / 0.6) ** 2))
    h = DARKNESS[kind] * (0.72 + 0.56 * section.trait[0])
    h = h * (1 + CLUMPING[kind] * section.fields.chromatin + RIM[kind] * membrane)
    h = h + NUCLEOLUS[kind] * section.nucleolus
    return np.maximum(h, 0.1), 0.15 + 0.05 * section.fields.grain
