"""Spots and bins lie on a lattice of known pitch: it gives µm per pixel, and the bins their corners. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from pixnet_sd._errors import PixnetValueError

VISIUM_STEP_UM = (50.0, 50.0 * np.sqrt(3))
"""One column and one row of the hexagonal array: spots 100 µm apart, in every second column of a row."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """The straight map from places on an array to pixels, fitted to all of them."""

    step_px: np.ndarray
    """(2, 2): one column and one row of the array, as columns (x, y)."""

    def mpp(self, step_um: tuple[float, float]) -> float:
        """µm per pixel, where one column and one row of the array have these lengths."""
        return float(np.sqrt(step_um[0] * step_um[1] / abs(np.linalg.det(self.step_px))))

    def cells(self, centres_xy: np.ndarray) -> np.ndarray:
        """The parallelogram of the lattice around each centre: on a lattice, without overlap and without gap."""
        corners = self.step_px @ np.array([[-0.5, 0.5, 0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]])
        return np.asarray(shapely.polygons(centres_xy[:, None, :] + corners.T[None]))


def fit_lattice(columns: np.ndarray, rows: np.ndarray, centres_xy: np.ndarray, what: str) -> Lattice:
    """Least squares over all places; three that are not in line are enough."""
    places = np.column_stack([columns, rows]).astype(float)
    places -= places.mean(axis=0) if len(places) else 0.0
    if len(places) < 3 or np.linalg.matrix_rank(places) < 2 or not np.isfinite(centres_xy).all():
        raise PixnetValueError(
            f"The {len(places)} {what} give no lattice: it needs at least 3 with finite centres, not in one line. "
            "Check the positions file."
        )
    step, *_ = np.linalg.lstsq(places, centres_xy - centres_xy.mean(axis=0))
    return Lattice(step.T)
