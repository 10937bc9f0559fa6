"""The stain domain of the training data, and the share of outliers in another picture.

Small patches, at the model's µm per pixel, are described by a few numbers: the optical density of each channel, its SD
within the patch, and its mean difference between pixels 1 and 4 apart, which depends on blur and µm per pixel.
An outlier is farther from the training patches, by Mahalanobis' distance, than all but 1 % of them are. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._raster.stain import optical_density
from pixnet_sd.nn.slides import Slide

# Side of a patch: some cells.
SIDE_PX = 96
# Number for each slide, spread over its shapes.
PATCHES = 256
# Least number of disjoint patches from which a domain is estimated.
FEWEST_PATCHES = 16
# SD of density within a patch up to which it is glass: there 99 % are below 0.022, on tissue all above.
GLASS = 0.025
# Share of the training patches within the limit.
USUAL = 0.99
STEPS_PX = (1, 4)
# Descriptors of a patch, D.
NUMBERS = 6 + len(STEPS_PX)
# Added before the logarithm: a flat patch has no variation.
SMALLEST = 1e-3
# Share of the covariance taken from its diagonal, so that it can be inverted with few patches.
SHRINKAGE = 0.05


@dataclass(frozen=True)
class StainDomain:
    """Distribution of the training patches' descriptors."""

    mean: tuple[float, ...]
    """(D,)."""
    precision: tuple[tuple[float, ...], ...]
    """(D, D), the inverse of their covariance."""
    limit: float
    """The distance beyond which a patch is an outlier."""

    def outlier_share(self, patches: Iterable[np.ndarray]) -> float:
        """Compute the share of outliers among (3, y, x) uint8 patches, glass excluded; 0 where too few remain."""
        found = np.array(
            [describe_patches(density) for density in map(optical_density, patches) if not is_glass(density)]
        )
        if len(found) < FEWEST_PATCHES:
            return 0.0
        return float((measure_distances(found, np.array(self.mean), np.array(self.precision)) > self.limit).mean())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> StainDomain:
        return cls(tuple(stored["mean"]), tuple(map(tuple, stored["precision"])), float(stored["limit"]))


def learn_domain(slides: Sequence[Slide]) -> StainDomain | None:
    """Estimate the domain from patches around measured shapes; None where these are too few."""
    centers = [sample_places(slide) for slide in slides]
    if sum(len(np.unique(own // SIDE_PX, axis=0)) for own in centers) < FEWEST_PATCHES:
        return None
    pairs = zip(slides, centers, strict=True)
    found = np.concatenate([describe_all(read_patches(slide.picture, own)) for slide, own in pairs])
    mean, covariance = found.mean(axis=0), np.cov(found, rowvar=False)
    variances = np.diag(np.diag(covariance)) + SMALLEST**2 * np.eye(len(mean))
    precision = np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * variances)
    limit = float(np.quantile(measure_distances(found, mean, precision), USUAL))
    return StainDomain(tuple(mean.tolist()), tuple(map(tuple, precision.tolist())), limit)


def sample_places(slide: Slide) -> np.ndarray:
    """Return (n, 2) x and y of some shapes, from all over the slide."""
    centers = np.concatenate([measured.shapes.centroid for measured in slide.measured])
    return centers[np.linspace(0, len(centers) - 1, min(PATCHES, len(centers))).astype(int)]


def read_patches(picture: Picture, centers: np.ndarray) -> Iterable[np.ndarray]:
    """Yield the patches of a picture around these x and y in its pixels."""
    for x, y in np.rint(centers - SIDE_PX / 2).astype(int):
        yield picture.read(Window(y, x, y + SIDE_PX, x + SIDE_PX))


def describe_all(patches: Iterable[np.ndarray]) -> np.ndarray:
    """Compute (patches, D) descriptors."""
    return np.array([describe_patches(optical_density(patch)) for patch in patches])


def is_glass(density: np.ndarray) -> bool:
    return bool(density.mean(axis=0).std() <= GLASS)


def describe_patches(density: np.ndarray) -> np.ndarray:
    gray = density.mean(axis=0)
    changes = [measure_change(gray, step) + measure_change(gray.T, step) for step in STEPS_PX]
    variation = np.array([*density.std(axis=(1, 2)), *changes])
    return np.concatenate([density.mean(axis=(1, 2)), np.log(variation + SMALLEST)])


def measure_change(gray: np.ndarray, step: int) -> float:
    return float(np.abs(gray[step:] - gray[:-step]).mean())


def measure_distances(found: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,de,ne->n", found - mean, precision, found - mean))
