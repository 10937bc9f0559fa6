"""True rates of expression in a synthetic section: what is seen there, and how far it is from oxygen. Arrays only."""

import numpy as np

from pixnet_sd.datasets._synthetic.nuclei import EPITHELIAL, FIBROBLAST, LYMPHOCYTE, TUMOUR
from pixnet_sd.datasets._synthetic.panel import PROGRAMS
from pixnet_sd.datasets._synthetic.section import SectionWindow
from pixnet_sd.datasets._synthetic.shading import goblet_share, secretion_density

EDGE_OXYGEN_UM, GLAND_OXYGEN_UM, TUMOUR_SIGNAL_UM = 180.0, 40.0, 60.0


def program_rates(section: SectionWindow) -> np.ndarray:
    """Compute expected molecules per µm² (programs, y, x), float32, ordered as `PROGRAMS`; zero on glass."""
    rates = np.stack([RATES[program](section) for program in PROGRAMS]).astype(np.float32)
    return rates * (section.fields.edge > 0)


def cell_body(section: SectionWindow, kind: int | None = None) -> np.ndarray:
    """Return 1 in a nucleus, falling to 0 at the border of its cell; for one kind of cell or all."""
    beyond = np.maximum(section.cells.radius - 0.9, 0) / np.float32(0.6)
    of_kind = section.cells.owner >= 0 if kind is None else section.kind == kind
    return np.exp(-(beyond**2)) * of_kind


def granule_texture(section: SectionWindow) -> np.ndarray:
    """Return a texture of 2 to 6 µm that is also visible in the stains; its mean is about 1."""
    return np.maximum(1 + 0.6 * section.fields.grain, 0)


def stroma_rate(section: SectionWindow) -> np.ndarray:
    """Compute the rate of stroma, which increases near a tumor."""
    signal = 1 + 1.2 * np.exp(np.minimum(section.fields.nest, 0) / TUMOUR_SIGNAL_UM)
    return section.parts.stroma * signal * (0.20 * section.fields.fibre + 0.6 * cell_body(section, FIBROBLAST))


def epithelium_rate(section: SectionWindow) -> np.ndarray:
    healthy = section.parts.epithelium * (0.12 + 0.5 * cell_body(section, EPITHELIAL))
    return granule_texture(section) * (healthy + section.parts.nest * (0.05 + 0.2 * cell_body(section, TUMOUR)))


def secretory_rate(section: SectionWindow) -> np.ndarray:
    shed = 0.3 * section.parts.lumen * secretion_density(section.fields)
    return 0.45 * section.parts.apical * granule_texture(section) + goblet_share(section) + shed


def lymphoid_rate(section: SectionWindow) -> np.ndarray:
    return 1.2 * section.parts.tissue * cell_body(section, LYMPHOCYTE) * (0.5 + section.trait[1])


def proliferation_rate(section: SectionWindow) -> np.ndarray:
    """Compute the rate of division: in dark tumor nuclei, and in some cells at the base of glands."""
    dividing = np.maximum(section.trait[0] - 0.45, 0)
    in_tumour = cell_body(section, TUMOUR) * (0.1 + 2.0 * dividing)
    in_glands = 0.25 * cell_body(section, EPITHELIAL) * dividing
    return section.parts.nest * in_tumour + section.parts.epithelium * in_glands


def nuclear_rate(section: SectionWindow) -> np.ndarray:
    return section.nucleus * (0.3 + 0.5 * section.trait[0]) + 0.04 * section.parts.tissue * cell_body(section)


def hypoxia_rate(section: SectionWindow) -> np.ndarray:
    """Compute the rate far from edge and glands, the only one that a small field of view does not show."""
    far_from_edge = 1 - np.exp(-np.maximum(section.fields.edge, 0) / EDGE_OXYGEN_UM)
    far_from_glands = 1 - np.exp(np.minimum(section.fields.depth, 0) / GLAND_OXYGEN_UM)
    return far_from_edge * far_from_glands * granule_texture(section) * (0.02 + 0.4 * cell_body(section))


RATES = {
    "stroma": stroma_rate,
    "epithelium": epithelium_rate,
    "secretory": secretory_rate,
    "lymphoid": lymphoid_rate,
    "proliferation": proliferation_rate,
    "nuclear": nuclear_rate,
    "hypoxia": hypoxia_rate,
}
