"""A corner of a slide kept for validation, at a distance from what is trained on. numpy only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.slides import Measured, Slide

LEAST_SHAPES = 10


def hold_out_corner(slide: Slide, buffer_px: float) -> tuple[Slide, Slide]:
    """(training, validation): about a quarter of the shapes is held out, the same region in every set.

    Shapes within the buffer of that region are in neither, because what surrounds them is seen in validation.
    """
    places = slide.measured[0].shapes.centroid
    left = float(np.median(places[:, 0]))
    top = float(np.median(places[places[:, 0] >= left, 1]))
    away = [distance(measured, left, top) for measured in slide.measured]
    training = part(slide, [far > buffer_px + extent(m) for far, m in zip(away, slide.measured, strict=True)])
    validation = part(slide, [far == 0 for far in away])
    for name, one in (("train on", training), ("validate on", validation)):
        fewest = min(len(measured.shapes) for measured in one.measured)
        if fewest < LEAST_SHAPES:
            raise PixnetValueError(
                f"A held-out corner of {slide.name} leaves {fewest} shapes to {name}; at least {LEAST_SHAPES} are "
                "needed. Give other sections as `validation`, or None to train on everything."
            )
    return training, validation


def distance(measured: Measured, left: float, top: float) -> np.ndarray:
    """(shapes,) pixels from each middle to the region right of and below a corner."""
    x, y = measured.shapes.centroid.T
    return np.hypot(np.maximum(left - x, 0), np.maximum(top - y, 0))


def extent(measured: Measured) -> float:
    bounds = measured.shapes.bounds
    return float(np.nanmax(bounds[:, 2:] - bounds[:, :2]))


def part(slide: Slide, keep: list[np.ndarray]) -> Slide:
    return replace(slide, measured=tuple(m.take(k.nonzero()[0]) for m, k in zip(slide.measured, keep, strict=True)))
