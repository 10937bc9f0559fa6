"""What a network learns from: pictures at the model's µm per pixel, and counts of shapes on them. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pixnet_sd._pixels import Picture
from pixnet_sd._shapes import Shapes


@dataclass(frozen=True)
class Measured:
    """Counts of one set of shapes."""

    shapes: Shapes
    """In pixels of the slide's picture; only those that were measured."""
    counts: sp.csr_array
    """(shapes, genes), raw."""
    totals: np.ndarray
    """(shapes,) counts over all genes that were measured, not only the model's."""

    def take(self, rows: np.ndarray) -> Measured:
        return Measured(self.shapes.take(rows), self.counts[rows], self.totals[rows])


@dataclass(frozen=True)
class Slide:
    """One section."""

    name: str
    picture: Picture
    """At the model's µm per pixel."""
    mpp: float
    """That µm per pixel."""
    measured: tuple[Measured, ...]
    """One or more sets of shapes, e.g. bins of 2, 8 and 16 µm."""

    def density(self, number: int) -> float:
        """Counts per µm² of a set, over all genes: how deeply it was sequenced."""
        measured = self.measured[number]
        return float(measured.totals.sum() / (measured.shapes.area.sum() * self.mpp**2))


def size_factors(slides: Sequence[Slide]) -> list[list[float]]:
    """Depth of every set of every slide, relative to their geometric mean.

    One depth for a whole set leaves differences between its shapes, such as cell density, to the map: what the map
    shows is a rate, whose sums over any shapes are counts.
    """
    densities = [[slide.density(number) for number in range(len(slide.measured))] for slide in slides]
    reference = np.exp(np.mean([np.log(density) for own in densities for density in own]))
    return [[float(density / reference) for density in own] for own in densities]


def mean_rates(slides: Sequence[Slide]) -> np.ndarray:
    """(genes,) counts per µm² at size factor 1, over all slides and sets."""
    counts, area_um2 = np.zeros(slides[0].measured[0].counts.shape[1]), 0.0
    for slide, own in zip(slides, size_factors(slides), strict=True):
        for measured, factor in zip(slide.measured, own, strict=True):
            counts += np.asarray(measured.counts.sum(axis=0)).ravel() / factor
            area_um2 += measured.shapes.area.sum() * slide.mpp**2
    return counts / area_um2
