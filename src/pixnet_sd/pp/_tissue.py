"""Mark tissue on an H&E image."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, overload

import numpy as np
from spatialdata import SpatialData
from xarray import DataArray

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._keys import tissue_key
from pixnet_sd._metrics.alignment import Raster, tissue_share
from pixnet_sd._raster.tissue import tissue_mask
from pixnet_sd._sdata import affine, build, elements, images, units
from pixnet_sd._sdata.alignment import measured_centers
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._settings import logger

WORKING_MPP = 8.0
"""Fine enough for the outline of a section, coarse enough that a whole slide takes a second."""
LARGEST_PX = 2**27
"""Number of pixels at that size: nine cm on each side, which is more than any slide."""
LOOSER = 1.5
"""Sensitivity where measured shapes would be missed. Twice as much takes smears of eosin for tissue."""
ENOUGH, TOO_FEW = 0.97, 0.9
"""Share of measured shapes on the tissue that is looked for, and below which there is a warning."""


@overload
def tissue(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    sensitivity: float | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
) -> DataArray: ...


@overload
def tissue(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
    sensitivity: float | None = ...,
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def tissue(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    sensitivity: float | None = None,
    value_range: tuple[float, float] | None = None,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
) -> DataArray | None:
    """Mark tissue against glass, as labels (1 tissue, 0 glass) at about 8 µm per pixel.

    Parameters
    ----------
    sdata
        SpatialData object with the image.
    image_key
        Key of the H&E image. Optional if the object has exactly one image.
    sensitivity
        Above 1 finds paler tissue, below 1 less of it. By default 1, or 1.5 where shapes with counts lie on the image
        and too many of them would be off the tissue.
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8, e.g. ``(0, 65535)``.
    key_added
        Key of the new labels. Default: ``"{image}_tissue"``, as in squidpy.
    overwrite
        Whether to replace existing labels.
    inplace
        Whether to add the labels to the object or return them.

    Returns
    -------
    The labels element if ``inplace=False``, otherwise `None`.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> ps.pp.tissue(sdata)
    >>> sdata.labels["he_tissue"].dims
    ('y', 'x')
    """
    key = elements.find_image_key(sdata, image_key)
    name = key_added or tissue_key(key)
    check_sensitivity(sensitivity)
    mpp = units.image_mpp(sdata, key)
    if inplace:
        check_results(sdata, {name: "labels"}, overwrite=overwrite)
    image = images.read_rgb(sdata, key, value_range)
    step = max(1.0, WORKING_MPP / mpp)
    check_image_size(image, step)
    level = images.read_overview_level(image, step)
    centers = measured_centers(sdata, key)
    mask = find_tissue(level, images.level_mpp(level, mpp), centers, sensitivity)
    report_tissue(key, mask, centers)
    labels = build.make_labels(mask.values.astype("uint8"), affine.grid_transformations(sdata.images[key], level.grid))
    if not inplace:
        return labels
    facts = {"kind": "tissue", "image": key, "mpp": images.level_mpp(level, mpp), "share": float(mask.values.mean())}
    attach(sdata, {name: labels}, {name: facts}, overwrite=overwrite)
    return None


def find_tissue(level: images.Level, mpp: float, centers: np.ndarray, sensitivity: float | None) -> Raster:
    """Look again, for paler tissue, where that brings the measured shapes onto the mask."""
    image = load_lazy(level.data)
    mask = Raster(tissue_mask(image, mpp, sensitivity or 1.0), level.grid.from_source)
    if sensitivity is None and share_on(mask, centers) < ENOUGH:
        looser = replace(mask, values=tissue_mask(image, mpp, LOOSER))
        return looser if share_on(looser, centers) >= ENOUGH else mask
    return mask


def check_sensitivity(sensitivity: float | None) -> None:
    if sensitivity is not None and not 0 < sensitivity < np.inf:
        raise PixnetValueError(f"sensitivity={sensitivity!r} must be a positive number; 1.5 finds more.")


def share_on(mask: Raster, centers: np.ndarray) -> float:
    """Return the share of points on the mask; 1 where there are none."""
    return tissue_share(mask, centers) if len(centers) else 1.0


def report_tissue(key: str, mask: Raster, centers: np.ndarray) -> None:
    """Log the share of measured shapes on the tissue; warn where it is small, or where there is no tissue."""
    share = share_on(mask, centers)
    if not mask.values.any():
        warn(f"No tissue was found on image {key!r}; it may be empty glass.")
    elif share < TOO_FEW:
        warn(
            f"Only {share:.0%} of the {len(centers):,} measured shapes lie on the tissue found on {key!r}: it may be "
            "too tight for pale tissue. Pass sensitivity=2 for more, or run tl.check_alignment to see whether "
            "the shapes lie where they belong."
        )
    elif len(centers):
        logger.info("%.1f %% of the %s measured shapes lie on the tissue of %r", 100 * share, f"{len(centers):,}", key)


def check_image_size(image: images.Image, step: float) -> None:
    needed = image.grid.height * image.grid.width / step**2
    if needed > LARGEST_PX:
        raise PixnetValueError(
            f"Image {image.key!r} has {image.grid.height:,} x {image.grid.width:,} px; at {WORKING_MPP:g} µm per pixel "
            f"that is {needed:,.0f} px, more than the {LARGEST_PX:,} of any slide. Check its µm per pixel."
        )
