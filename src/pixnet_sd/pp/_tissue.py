"""Mark tissue on an H&E image."""

from __future__ import annotations

from typing import Literal, overload

from spatialdata import SpatialData
from xarray import DataArray

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._keys import tissue_key
from pixnet_sd._raster.lazy import load_lazy
from pixnet_sd._raster.tissue import tissue_mask
from pixnet_sd._sdata import affine, build, elements, images, units
from pixnet_sd._sdata.storage.attach import attach, check_results

WORKING_MPP = 8.0
"""Fine enough for the outline of a section, coarse enough that a whole slide takes a second."""
LARGEST_PX = 2**27
"""Number of pixels at that size: nine cm on each side, which is more than any slide."""


@overload
def tissue(
    sdata: SpatialData,
    image_key: str | None = ...,
    *,
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
    value_range: tuple[float, float] | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def tissue(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
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
    mpp = units.image_mpp(sdata, key)
    if inplace:
        check_results(sdata, {name: "labels"}, overwrite=overwrite)
    image = images.read_rgb(sdata, key, value_range)
    step = max(1.0, WORKING_MPP / mpp)
    check_image_size(image, step)
    level = images.read_overview_level(image, step)
    mask = tissue_mask(load_lazy(level.data), images.level_mpp(level, mpp))
    if not mask.any():
        warn(f"No tissue was found on image {key!r}; it may be empty glass.")
    labels = build.make_labels(mask.astype("uint8"), affine.grid_transformations(sdata.images[key], level.grid))
    if not inplace:
        return labels
    facts = {"kind": "tissue", "image": key, "mpp": images.level_mpp(level, mpp), "share": float(mask.mean())}
    attach(sdata, {name: labels}, {name: facts}, overwrite=overwrite)
    return None


def check_image_size(image: images.Image, step: float) -> None:
    needed = image.grid.height * image.grid.width / step**2
    if needed > LARGEST_PX:
        raise PixnetValueError(
            f"Image {image.key!r} has {image.grid.height:,} x {image.grid.width:,} px; at {WORKING_MPP:g} µm per pixel "
            f"that is {needed:,.0f} px, more than the {LARGEST_PX:,} of any slide. Check its µm per pixel."
        )
