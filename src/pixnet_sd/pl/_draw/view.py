"""Region of an image to draw: all of it, a rectangle, or the extent of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._sdata import images, maps, units
from pixnet_sd._sdata.drawing import Box
from pixnet_sd._sdata.shapes import read_shapes

Region = Sequence[float] | str
SURROUNDINGS = 0.03
"""Margin around shapes, as a share of their extent."""
CropUnit = Literal["um", "px"]


@dataclass(frozen=True)
class MapView:
    """Region of an image, in pixels of its finest level, y down."""

    image_key: str
    box: Box
    mpp: float | None
    """µm per pixel, where it is known."""

    @property
    def aspect(self) -> float:
        return self.box.height / self.box.width


def find_view(
    sdata: SpatialData, image_key: str, region: Region | None, unit: CropUnit, coordinate_system: str | None = None
) -> MapView:
    """Return the view for `region`, clipped to the image."""
    if unit not in get_args(CropUnit):
        raise PixnetValueError(f"crop_unit={unit!r} is unknown; use one of {get_args(CropUnit)}.")
    grid = images.read_image(sdata, image_key).grid
    whole = Box(0.0, 0.0, float(grid.width), float(grid.height))
    if region is None:
        box = whole
    elif isinstance(region, str):
        box = around_shapes(sdata, region, image_key, coordinate_system)
    else:
        box = stated_box(region, 1.0 if unit == "px" else units.image_mpp(sdata, image_key))
    return MapView(image_key, cut_box(box, whole, region, image_key), maps.raster_mpp(sdata, image_key))


def stated_box(region: Sequence[float], mpp: float) -> Box:
    corners = np.asarray(region)
    if corners.shape != (4,) or corners.dtype.kind not in "iuf" or not np.isfinite(corners).all():
        raise PixnetValueError(
            f"crop_coord must be four numbers, (x0, y0, x1, y1), or the key of shapes; got {region!r}."
        )
    return Box(*(corners / mpp).tolist())


def around_shapes(sdata: SpatialData, key: str, image_key: str, coordinate_system: str | None) -> Box:
    resolve_key("shapes", key, sdata.shapes, "crop_coord")
    grid = images.read_image(sdata, image_key).grid
    bounds = read_shapes(sdata, key, image_key, grid, coordinate_system).shapes.bounds
    if not np.isfinite(bounds).any():
        raise PixnetValueError(
            f"crop_coord={key!r} has {len(bounds)} shapes, and none of them has any area to show the surroundings of."
        )
    low, high = np.nanmin(bounds[:, :2], axis=0), np.nanmax(bounds[:, 2:], axis=0)
    margin = SURROUNDINGS * (high - low).max()
    return Box(*(low - margin).tolist(), *(high + margin).tolist())


def cut_box(box: Box, whole: Box, region: Region | None, image_key: str) -> Box:
    inside = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, whole.x1), min(box.y1, whole.y1))
    if not (inside.width > 0 and inside.height > 0):
        raise PixnetValueError(
            f"crop_coord={region!r} is {tuple(np.round(box, 1).tolist())} in pixels (x0, y0, x1, y1), without area on "
            f"image {image_key!r} of {whole.width:g} x {whole.height:g} px. Mind crop_unit, 'um' or 'px'."
        )
    return inside
