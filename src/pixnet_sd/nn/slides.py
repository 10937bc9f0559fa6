"""What a network learns from: images at the model's µm per pixel, and counts of shapes. numpy and scipy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import Shapes


@dataclass(frozen=True)
class MeasuredSet:
    """Counts of one set of shapes."""

    shapes: Shapes
    """In pixels of the slide's picture; only those that were measured."""
    counts: sp.csr_array
    """(shapes, genes), raw."""
    totals: np.ndarray
    """(shapes,) counts over all genes that were measured, not only the model's."""

    def take(self, rows: np.ndarray) -> MeasuredSet:
        return MeasuredSet(self.shapes.take(rows), self.counts[rows], self.totals[rows])


@dataclass(frozen=True)
class Slide:
    """One section."""

    name: str
    picture: Picture
    """At the model's µm per pixel."""
    mpp: float
    """That µm per pixel."""
    measured: tuple[MeasuredSet, ...]
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


LEAST_SHAPES = 10
LOOKS = 8
"""Shapes of the same place whose pixels tell whether two pictures are the same."""


def hold_out_corner(slide: Slide, buffer_px: float) -> tuple[Slide, Slide]:
    """(training, validation): about a quarter of the shapes is held out, the same region in every set.

    Shapes within the buffer of that region are in neither, because what surrounds them is seen in validation.
    """
    places = slide.measured[0].shapes.centroid
    left = float(np.median(places[:, 0]))
    top = float(np.median(places[places[:, 0] >= left, 1]))
    away = [distance_to_corner(measured, left, top) for measured in slide.measured]
    training = select_shapes(
        slide, [far > buffer_px + largest_extent(m) for far, m in zip(away, slide.measured, strict=True)]
    )
    validation = select_shapes(slide, [far == 0 for far in away])
    for name, one in (("train on", training), ("validate on", validation)):
        fewest = min(len(measured.shapes) for measured in one.measured)
        if fewest < LEAST_SHAPES:
            raise PixnetValueError(
                f"A held-out corner of {slide.name} leaves {fewest} shapes to {name}; at least {LEAST_SHAPES} are "
                "needed. Give other sections as `validation`, or None to train on everything."
            )
        require_counts(one, f"what the held-out corner of {slide.name} leaves to {name}")
    return training, validation


def require_counts(slide: Slide, what: str) -> None:
    """Of the model's genes, in every set of shapes."""
    for number, measured in enumerate(slide.measured, 1):
        if not measured.counts.sum():
            shapes, genes = measured.counts.shape
            raise PixnetValueError(
                f"There are no counts of the {genes} genes in {what}: set {number} of {len(slide.measured)} has "
                f"{shapes} shapes with {measured.totals.sum():g} counts over all genes. Choose other genes or shapes, "
                "give other sections as `validation`, or None to train on everything."
            )


def refuse_known(training: Sequence[Slide], others: Sequence[Slide], remedy: str) -> None:
    """Scores on what was learnt from say nothing of other sections."""
    for other in others:
        for one in training:
            if other is not one and same_section(one, other):
                raise PixnetValueError(
                    f"{other.name} is {one.name}: they have the same counts, or the same pixels under the same shapes. "
                    f"What is learnt from must not be scored. {remedy}"
                )


def same_section(one: Slide, other: Slide) -> bool:
    """Whether any two of their sets have the same counts, or are of the same shapes with the same pixels."""
    return any(
        same_counts(here, there) or same_pixels(one, here, other, there)
        for here in one.measured
        for there in other.measured
    )


def same_counts(one: MeasuredSet, other: MeasuredSet) -> bool:
    if one.counts.shape != other.counts.shape or not np.array_equal(one.totals, other.totals):
        return False
    return (one.counts != other.counts).nnz == 0


def same_pixels(one: Slide, here: MeasuredSet, other: Slide, there: MeasuredSet) -> bool:
    """Some shapes have the same bounds in both, and the pixels there are equal."""
    common = sorted({tuple(row) for row in here.shapes.bounds} & {tuple(row) for row in there.shapes.bounds})
    some = [common[k] for k in np.unique(np.linspace(0, len(common) - 1, LOOKS).astype(int))] if common else []
    windows = [Window(int(y0), int(x0), int(np.ceil(y1)), int(np.ceil(x1))) for x0, y0, x1, y1 in some]
    return bool(windows) and all(np.array_equal(one.picture.read(w), other.picture.read(w)) for w in windows)


def distance_to_corner(measured: MeasuredSet, left: float, top: float) -> np.ndarray:
    """(shapes,) pixels from each middle to the region right of and below a corner."""
    x, y = measured.shapes.centroid.T
    return np.hypot(np.maximum(left - x, 0), np.maximum(top - y, 0))


def largest_extent(measured: MeasuredSet) -> float:
    bounds = measured.shapes.bounds
    return float(np.nanmax(bounds[:, 2:] - bounds[:, :2]))


def select_shapes(slide: Slide, keep: list[np.ndarray]) -> Slide:
    return replace(slide, measured=tuple(m.take(k.nonzero()[0]) for m, k in zip(slide.measured, keep, strict=True)))
