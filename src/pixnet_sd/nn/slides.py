"""What a network learns from: pictures at the model's µm per pixel, and counts of shapes on them. Values only."""

from __future__ import annotations

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
