"""Do shapes lie where they belong on an image? Compare their place with others they might have had. numpy only.

Two measures tell places apart: the share of centers on tissue, which needs glass in the image, and how much of the
measured expression the color under the shapes explains, which needs counts but no glass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

STEPS = 5
"""Shifts tried to each side, each a tenth of the shapes' extent."""
SCALES = (0.1, 0.2, 0.5, 2.0, 5.0, 10.0)
"""Factors between the resolutions of an image that are commonly mixed up."""
PROGRAMS = 5
"""Leading components of the expression that are to be explained: the rest is sampling noise."""
ROUNDING = 1e-9
"""Below this, expression does not vary."""


@dataclass(frozen=True)
class Place:
    """Another place that the shapes might have on the image."""

    words: str
    """What would be done to them."""
    matrix: np.ndarray
    """3 x 3 on (x, y, 1), in pixels of the image."""


@dataclass(frozen=True)
class Raster:
    """An overview of an image in memory."""

    values: np.ndarray
    """(y, x), or (c, y, x)."""
    from_image: np.ndarray
    """3 x 3 on (x, y, 1): pixels of the image's finest level to those of the overview."""

    def at(self, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look up values under points (n, 2) of the image, and which points are on it; values are of those only."""
        x, y = np.floor(centers @ self.from_image[:2, :2].T + self.from_image[:2, 2]).astype(int).T
        height, width = self.values.shape[-2:]
        on = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        return self.values[..., y[on], x[on]], on


def other_places(size_px: tuple[int, int], centers: np.ndarray) -> list[Place]:
    """Yield the centers turned and mirrored about an image of (height, width), in another scale, or shifted."""
    return [*rotated_places(*size_px), *scaled_places(), *shifted_places(np.ptp(centers, axis=0))]


def rotated_places(height: float, width: float) -> Iterator[Place]:
    yield Place("mirrored left to right", compose_matrix([-1, 0, width], [0, 1, 0]))
    yield Place("mirrored top to bottom", compose_matrix([1, 0, 0], [0, -1, height]))
    yield Place("turned by 180 degrees", compose_matrix([-1, 0, width], [0, -1, height]))
    yield Place("with x and y swapped", compose_matrix([0, 1, 0], [1, 0, 0]))
    yield Place("turned by 90 degrees", compose_matrix([0, -1, width], [1, 0, 0]))
    yield Place("turned by 270 degrees", compose_matrix([0, 1, 0], [-1, 0, height]))
    yield Place("mirrored about the other diagonal", compose_matrix([0, -1, width], [-1, 0, height]))


def scaled_places() -> Iterator[Place]:
    for factor in SCALES:
        yield Place(f"with coordinates {factor:g} times as large", np.diag([factor, factor, 1.0]))


def shifted_places(extent: np.ndarray) -> Iterator[Place]:
    steps = range(-STEPS, STEPS + 1)
    for down, right in ((down, right) for down in steps for right in steps if (down, right) != (0, 0)):
        x, y = 0.1 * right * extent[0], 0.1 * down * extent[1]
        yield Place(
            f"shifted by {10 * right:+d} % of their extent in x and {10 * down:+d} % in y",
            compose_matrix([1, 0, x], [0, 1, y]),
        )


def compose_matrix(first: list[float], second: list[float]) -> np.ndarray:
    return np.array([first, second, [0, 0, 1]], float)


def move_centers(centers: np.ndarray, place: Place) -> np.ndarray:
    return centers @ place.matrix[:2, :2].T + place.matrix[:2, 2]


def tissue_share(tissue: Raster, centers: np.ndarray) -> float:
    """Compute the share on tissue of all centers, also those beside the image."""
    found, _ = tissue.at(centers)
    return float(found.sum() / len(centers))


def expression_components(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Compute (n, k) leading components of log profiles of counts (n, genes); their squares sum to 1."""
    profiles = np.log1p(1e4 * counts / totals[:, None])
    left, lengths, _ = np.linalg.svd(profiles - profiles.mean(axis=0), full_matrices=False)
    leading = left[:, :PROGRAMS] * lengths[:PROGRAMS]
    length = np.linalg.norm(leading)
    return leading / length if length > ROUNDING else np.zeros_like(leading)


def explained_share(color: Raster, centers: np.ndarray, expression: np.ndarray) -> float:
    """Compute the share of expression that is linear in the color under the shapes, less that by chance.

    Shapes beside the image count as unexplained, so places that keep few of them on it do not win.
    """
    values, on = color.at(centers)
    number, channels = int(on.sum()), len(values)
    if number <= channels + 1:
        return 0.0
    design, wanted = values.T - values.T.mean(axis=0), expression[on] - expression[on].mean(axis=0)
    basis, _ = np.linalg.qr(design)
    fitted, whole = float(((basis.T @ wanted) ** 2).sum()), float((wanted**2).sum())
    chance = channels * (whole - fitted) / (number - channels - 1)
    return max(0.0, fitted - chance)
