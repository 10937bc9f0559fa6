"""Find the tissue on an image, and say whether what is found can be relied on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.alignment import Raster, tissue_share
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._raster.tissue import glass_is_lighter, tissue_mask
from pixnet_sd._sdata import images
from pixnet_sd._sdata.alignment import measured_centers

WORKING_MPP = 8.0
"""Fine enough for the outline of a section, coarse enough that a whole slide takes a second."""
LARGEST_PX = 2**27
"""Number of pixels at that size: nine cm on each side, which is more than any slide."""
LOOSER = 1.5
"""Sensitivity where measured shapes would be missed. Twice as much takes smears of eosin for tissue."""
ENOUGH, TOO_FEW = 0.97, 0.9
"""Share of measured shapes on the tissue that is looked for, and below which the mask is doubted."""


@dataclass(frozen=True)
class FoundTissue:
    """What was found to be tissue on an image."""

    mask: np.ndarray
    """(y, x), True on tissue."""
    grid: PixelGrid
    """Its pixels, in finest pixels of the image."""
    mpp: float
    """µm per pixel of the mask."""
    measured: int
    """Number of shapes with counts over the image."""
    share_measured: float
    """Share of them on the tissue; 1 where there are none."""
    glass_is_lighter: bool
    """Whether what is left off looks like glass."""

    @property
    def doubt(self) -> str | None:
        """Why the mask is no reason to leave anything off, if it is none."""
        if self.share_measured < TOO_FEW:
            return f"only {self.share_measured:.0%} of the {self.measured:,} measured shapes lie on it"
        return None if self.glass_is_lighter else "what is off it is too dark for glass"


def search_tissue(
    sdata: SpatialData,
    image_key: str,
    mpp: float,
    *,
    value_range: tuple[float, float] | None = None,
    sensitivity: float | None = None,
) -> FoundTissue:
    """Find the tissue in one pass over an image; look again where measured shapes would be missed."""
    image = images.read_rgb(sdata, image_key, value_range)
    step = max(1.0, WORKING_MPP / mpp)
    check_image_size(image, step)
    level = images.read_overview_level(image, step)
    # Not on dask's threads: a process that is forked after they were used would wait for them for ever.
    pixels = load_lazy(level.data, scheduler="synchronous")
    centers = measured_centers(sdata, image_key)
    found = mark_tissue(pixels, level.grid, images.level_mpp(level, mpp), centers, sensitivity or 1.0)
    if sensitivity is None and found.share_measured < ENOUGH:
        looser = mark_tissue(pixels, level.grid, found.mpp, centers, LOOSER)
        found = looser if looser.share_measured >= ENOUGH else found
    return replace(found, glass_is_lighter=glass_is_lighter(pixels, found.mask))


def mark_tissue(
    pixels: np.ndarray, grid: PixelGrid, mpp: float, centers: np.ndarray, sensitivity: float
) -> FoundTissue:
    mask = tissue_mask(pixels, mpp, sensitivity)
    share = tissue_share(Raster(mask, grid.from_source), centers) if len(centers) else 1.0
    return FoundTissue(mask, grid, mpp, len(centers), share, glass_is_lighter=True)


def check_image_size(image: images.Image, step: float) -> None:
    needed = image.grid.height * image.grid.width / step**2
    if needed > LARGEST_PX:
        raise PixnetValueError(
            f"Image {image.key!r} has {image.grid.height:,} x {image.grid.width:,} px; at {WORKING_MPP:g} µm per pixel "
            f"that is {needed:,.0f} px, more than the {LARGEST_PX:,} of any slide. Check its µm per pixel."
        )
