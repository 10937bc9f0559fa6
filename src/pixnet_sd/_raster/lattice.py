"""Lattices of spots or bins of known pitch: µm per pixel, and corners of the bins. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from pixnet_sd._errors import PixnetValueError

VISIUM_STEP_UM = (50.0, 50.0 * np.sqrt(3))
"""Steps of one column and one row of the hexagonal array: spots 100 µm apart, in every second column of a row."""

VISIUM_DIAMETER_UM = (50.0, 75.0)
"""Diameters that Visium's spots of 55 µm have in files: Space Ranger's own is 65 µm, and in some versions 70."""
LARGEST_MISFIT = 0.1
"""Of a step: how far spots lie from their lattice where columns, rows and places belong together."""


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


def find_visium_mpp(
    columns: np.ndarray, rows: np.ndarray, centers_xy: np.ndarray, diameter_px: float | None = None
) -> float | None:
    """Compute µm per pixel from spots that lie as Visium's do, 100 µm apart; None for any others."""
    positions = np.column_stack([columns, rows]).astype(float)
    if not (is_hexagonal(positions) and np.isfinite(centers_xy).all()):
        return None
    step = fit_lattice(columns, rows, centers_xy, "spots").step_px
    fitted = (positions - positions.mean(axis=0)) @ step.T + centers_xy.mean(axis=0)
    area = abs(np.linalg.det(step))
    if not area or np.abs(fitted - centers_xy).max() > LARGEST_MISFIT * np.sqrt(area):
        return None
    mpp = Lattice(step).mpp(VISIUM_STEP_UM)
    low, high = VISIUM_DIAMETER_UM
    return mpp if diameter_px is None or low <= diameter_px * mpp <= high else None


def is_hexagonal(positions: np.ndarray) -> bool:
    """Check for whole numbers (columns, rows), where every second place of each row is free, as in a checkerboard."""
    if len(positions) < 3 or not (positions == np.round(positions)).all():
        return False
    spread = np.ptp(positions, axis=0).min() > 0
    return bool(spread and len(np.unique(positions.sum(axis=1) % 2)) == 1 and len(np.unique(positions[:, 0] % 2)) == 2)
