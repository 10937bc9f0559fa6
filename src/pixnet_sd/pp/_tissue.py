"""Mark tissue on an H&E image."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from spatialdata import SpatialData
from xarray import DataArray

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._keys import tissue_key
from pixnet_sd._sdata import affine, build, elements, units
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._sdata.tissue import TOO_FEW, FoundTissue, search_tissue
from pixnet_sd._settings import logger


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
    found = search_tissue(sdata, key, mpp, value_range=value_range, sensitivity=sensitivity)
    report_tissue(key, found)
    labels = build.make_labels(found.mask.astype("uint8"), affine.grid_transformations(sdata.images[key], found.grid))
    if not inplace:
        return labels
    facts = {"kind": "tissue", "image": key, "mpp": found.mpp, "share": float(found.mask.mean())}
    attach(sdata, {name: labels}, {name: facts}, overwrite=overwrite)
    return None


def check_sensitivity(sensitivity: float | None) -> None:
    if sensitivity is not None and not 0 < sensitivity < np.inf:
        raise PixnetValueError(f"sensitivity={sensitivity!r} must be a positive number; 1.5 finds more.")


def report_tissue(key: str, found: FoundTissue) -> None:
    """Log the share of measured shapes on the tissue; warn where it is small, or where there is no tissue."""
    count, share = f"{found.measured:,}", found.share_measured
    if not found.mask.any():
        warn(f"No tissue was found on image {key!r}; it may be empty glass.")
    elif share < TOO_FEW:
        warn(
            f"Only {share:.0%} of the {count} measured shapes lie on the tissue found on {key!r}: it may be "
            "too tight for pale tissue. Pass sensitivity=2 for more, or run tl.check_alignment to see whether "
            "the shapes lie where they belong."
        )
    elif found.measured:
        logger.info("%.1f %% of the %s measured shapes lie on the tissue of %r", 100 * share, count, key)
