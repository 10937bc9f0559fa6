"""Lattice of spots or bins of known pitch: gives µm per pixel, and corners of the bins. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from pixnet_sd._errors import PixnetValueError

VISIUM_STEP_UM = (50.0, 50.0 * np.sqrt(3))
"""Steps of one column and one row of the hexagonal array: spots 100 µm apart, in every second column of a row."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Linear map from positions on an array to pixels, fitted to all of them."""

    step_px: np.ndarray
    """(2, 2): one column and one row of the array, as columns (x, y)."""

    def mpp(self, step_um: tuple[float, float]) -> float:
        """Return µm per pixel for the given lengths of one column and one row."""
        # The determinant is negative if the array is mirrored in the image.
        return float(np.sqrt(step_um[0] * step_um[1] / abs(np.linalg.det(self.step_px))))

    def cells(self, centers_xy: np.ndarray) -> np.ndarray:
        """Return the parallelogram around each center; together they have neither overlaps nor gaps."""
        corners = self.step_px @ np.array([[-0.5, 0.5, 0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]])
        return np.asarray(shapely.polygons(centers_xy[:, None, :] + corners.T[None]))


def fit_lattice(columns: np.ndarray, rows: np.ndarray, centers_xy: np.ndarray, what: str) -> Lattice:
    """Fit the lattice to all positions by least squares; three that are not in line suffice."""
    positions = np.column_stack([columns, rows]).astype(float)
    positions -= positions.mean(axis=0) if len(positions) else 0.0
    if len(positions) < 3 or np.linalg.matrix_rank(positions) < 2 or not np.isfinite(centers_xy).all():
        raise PixnetValueError(
            f"The {len(positions)} {what} do not define a lattice, which needs at least 3 with finite "
            "centers, not in one line. Check the positions file."
        )
    step, *_ = np.linalg.lstsq(positions, centers_xy - centers_xy.mean(axis=0))
    return Lattice(step.T)
