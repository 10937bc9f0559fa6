"""How the tissue looked that a model learnt from, and which share of another picture looks like none of it.

Small patches, at the model's µm per pixel, are told by a few numbers: the optical density of each channel, how much it
varies within the patch, and how much it differs between pixels 1 and 4 apart, where blur and a wrong µm per pixel show.
A patch is strange if it is farther from the training patches, by Mahalanobis' distance, than all but 1 % of them are.
numpy only.
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

SIDE_PX = 96
"""Of a patch: some cells."""
PATCHES = 256
"""Of each slide; they are spread over its shapes."""
FEWEST_PATCHES = 16
"""Patches, side by side, from which one can know what is usual."""
GLASS = 0.025
"""Spread of density within a patch up to which it is glass: there 99 % are below 0.022, on tissue all above."""
USUAL = 0.99
"""Share of the training patches that are not strange."""
STEPS_PX = (1, 4)
NUMBERS = 6 + len(STEPS_PX)
"""That tell a patch."""
SMALLEST = 1e-3
"""Added to what goes into a logarithm: a flat patch has no variation."""
SHRINKAGE = 0.05
"""Share of the covariance that is taken from its diagonal, so that few patches give one that can be inverted."""


@dataclass(frozen=True)
class StainDomain:
    """What training patches have in common."""

    mean: tuple[float, ...]
    """(D,)."""
    precision: tuple[tuple[float, ...], ...]
    """(D, D), the inverse of their covariance."""
    limit: float
    """The distance beyond which a patch is strange."""

    def strange(self, patches: Iterable[np.ndarray]) -> float:
        """Share of (3, y, x) uint8 patches that look like none of the training; 0 where too few are not bare glass."""
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
    """From the surroundings of measured shapes; None where these are too few to tell."""
    centres = [sample_places(slide) for slide in slides]
    if sum(len(np.unique(own // SIDE_PX, axis=0)) for own in centres) < FEWEST_PATCHES:
        return None
    pairs = zip(slides, centres, strict=True)
    found = np.concatenate([describe_all(describe_around(slide.picture, own)) for slide, own in pairs])
    mean, covariance = found.mean(axis=0), np.cov(found, rowvar=False)
    variances = np.diag(np.diag(covariance)) + SMALLEST**2 * np.eye(len(mean))
    precision = np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * variances)
    limit = float(np.quantile(measure_distances(found, mean, precision), USUAL))
    return StainDomain(tuple(mean.tolist()), tuple(map(tuple, precision.tolist())), limit)


def sample_places(slide: Slide) -> np.ndarray:
    """(n, 2) x and y of some shapes, from all over the slide."""
    centres = np.concatenate([measured.shapes.centroid for measured in slide.measured])
    return centres[np.linspace(0, len(centres) - 1, min(PATCHES, len(centres))).astype(int)]


def describe_around(picture: Picture, centres: np.ndarray) -> Iterable[np.ndarray]:
    """The patches of a picture with these middles, x and y in its pixels."""
    for x, y in np.rint(centres - SIDE_PX / 2).astype(int):
        yield picture.read(Window(y, x, y + SIDE_PX, x + SIDE_PX))


def describe_all(patches: Iterable[np.ndarray]) -> np.ndarray:
    """(patches, D)."""
    return np.array([describe_patches(optical_density(patch)) for patch in patches])


def is_glass(density: np.ndarray) -> bool:
    return bool(density.mean(axis=0).std() <= GLASS)


def describe_patches(density: np.ndarray) -> np.ndarray:
    grey = density.mean(axis=0)
    changes = [measure_change(grey, step) + measure_change(grey.T, step) for step in STEPS_PX]
    variation = np.array([*density.std(axis=(1, 2)), *changes])
    return np.concatenate([density.mean(axis=(1, 2)), np.log(variation + SMALLEST)])


def measure_change(grey: np.ndarray, step: int) -> float:
    return float(np.abs(grey[step:] - grey[:-step]).mean())


def measure_distances(found: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,de,ne->n", found - mean, precision, found - mean))
