"""Slides to train on: images at the model's µm per pixel, and counts of shapes. numpy and scipy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.scores import log_profile
from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import Shapes

# Below it, nothing can be learned from a set of shapes, or scored on it.
LEAST_SHAPES = 10
# Shapes with equal bounds in two slides whose pixels are compared.
COMPARED = 8


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
    glass: Shapes | None = None
    """Shapes on bare glass, in pixels of the picture: nothing is expressed there."""

    def density(self, number: int) -> float:
        """Compute counts per µm² of a set, over all genes: its sequencing depth."""
        measured = self.measured[number]
        return float(measured.totals.sum() / (measured.shapes.area.sum() * self.mpp**2))


def size_factors(slides: Sequence[Slide]) -> list[list[float]]:
    """Compute the depth of every set of every slide, relative to their geometric mean.

    One depth for a whole set leaves differences between its shapes, such as cell density, to the map: the map is a
    rate, whose sums over any shapes are counts.
    """
    densities = [[slide.density(number) for number in range(len(slide.measured))] for slide in slides]
    reference = np.exp(np.mean([np.log(density) for own in densities for density in own]))
    return [[float(density / reference) for density in own] for own in densities]


def iterate_sets(slides: Sequence[Slide]) -> Iterator[tuple[Slide, MeasuredSet, float]]:
    """Yield every set of every slide, with its size factor."""
    for slide, own in zip(slides, size_factors(slides), strict=True):
        for measured, factor in zip(slide.measured, own, strict=True):
            yield slide, measured, factor


def mean_rates(slides: Sequence[Slide]) -> np.ndarray:
    """Compute (genes,) counts per µm² at size factor 1, over all slides and sets."""
    counts, area_um2 = np.zeros(slides[0].measured[0].counts.shape[1]), 0.0
    for slide, measured, factor in iterate_sets(slides):
        counts += np.asarray(measured.counts.sum(axis=0)).ravel() / factor
        area_um2 += measured.shapes.area.sum() * slide.mpp**2
    return counts / area_um2


def mean_profiles(slides: Sequence[Slide]) -> np.ndarray:
    """Compute (genes,) mean log expression, over all shapes of all slides and sets."""
    profiles = [log_profile(m.counts.toarray(), m.totals) for slide in slides for m in slide.measured]
    return np.nanmean(np.concatenate(profiles), axis=0)


def library_size(slides: Sequence[Slide]) -> float:
    """Compute the mean counts over all genes in a shape at size factor 1."""
    return float(np.concatenate([measured.totals / factor for _, measured, factor in iterate_sets(slides)]).mean())


def hold_out_corner(slide: Slide, buffer_px: float) -> tuple[Slide, Slide]:
    """Split into (training, validation): about a quarter of the shapes, the same region in every set, is held out.

    Shapes within the buffer of that region are in neither, because their pixels are context of validation shapes.
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
        check_gene_counts(one, f"what the held-out corner of {slide.name} leaves to {name}")
    return training, validation


def check_gene_counts(slide: Slide, what: str) -> None:
    """Check that every set of shapes has counts of the model's genes."""
    for number, measured in enumerate(slide.measured, 1):
        if not measured.counts.sum():
            shapes, genes = measured.counts.shape
            raise PixnetValueError(
                f"There are no counts of the {genes} genes in {what}: set {number} of {len(slide.measured)} has "
                f"{shapes} shapes with {measured.totals.sum():g} counts over all genes. Choose other genes or shapes, "
                "give other sections as `validation`, or None to train on everything."
            )


def check_no_overlap(training: Sequence[Slide], others: Sequence[Slide], remedy: str) -> None:
    """Check that no section is trained on and scored: such scores do not hold on other sections."""
    for other in others:
        for one in training:
            if other is not one and is_same_section(one, other):
                raise PixnetValueError(
                    f"{other.name} is {one.name}: they have the same counts, or the same pixels under the same shapes. "
                    f"A section that is trained on must not be scored. {remedy}"
                )


def is_same_section(one: Slide, other: Slide) -> bool:
    """Return whether any two of their sets have the same counts, or the same shapes with the same pixels."""
    return any(
        have_same_counts(here, there) or have_same_pixels(one, here, other, there)
        for here in one.measured
        for there in other.measured
    )


def have_same_counts(one: MeasuredSet, other: MeasuredSet) -> bool:
    if one.counts.shape != other.counts.shape or not np.array_equal(one.totals, other.totals):
        return False
    return (one.counts != other.counts).nnz == 0


def have_same_pixels(one: Slide, here: MeasuredSet, other: Slide, there: MeasuredSet) -> bool:
    """Return whether some shapes have the same bounds in both, and the pixels there are equal."""
    common = sorted({tuple(row) for row in here.shapes.bounds} & {tuple(row) for row in there.shapes.bounds})
    some = [common[k] for k in np.unique(np.linspace(0, len(common) - 1, COMPARED).astype(int))] if common else []
    windows = [Window(int(y0), int(x0), int(np.ceil(y1)), int(np.ceil(x1))) for x0, y0, x1, y1 in some]
    return bool(windows) and all(np.array_equal(one.picture.read(w), other.picture.read(w)) for w in windows)


def distance_to_corner(measured: MeasuredSet, left: float, top: float) -> np.ndarray:
    """Compute (shapes,) pixels from each centroid to the region right of and below a corner."""
    x, y = measured.shapes.centroid.T
    return np.hypot(np.maximum(left - x, 0), np.maximum(top - y, 0))


def largest_extent(measured: MeasuredSet) -> float:
    bounds = measured.shapes.bounds
    return float(np.nanmax(bounds[:, 2:] - bounds[:, :2]))


def select_shapes(slide: Slide, keep: list[np.ndarray]) -> Slide:
    return replace(slide, measured=tuple(m.take(k.nonzero()[0]) for m, k in zip(slide.measured, keep, strict=True)))
