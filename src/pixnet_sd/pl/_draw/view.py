"""Region of an image to draw: its tissue, all of it, a rectangle, or the extent of an element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import resolve_key, tissue_key
from pixnet_sd._sdata import affine, elements, images, maps, units
from pixnet_sd._sdata.drawing import Box, extent_of, extent_of_values
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd._sdata.shapes import read_shapes

Region = Sequence[float] | str
SURROUNDINGS = 0.03
"""Margin around an element, as a share of its extent."""
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


def find_he_key(sdata: SpatialData, image_key: str | None) -> str:
    """Find the H&E: the image that a map was predicted from, or the only image that is no result."""
    if image_key is None:
        records = [get_record(sdata, name) or {} for name in sdata.images]
        sources = {str(known["image"]) for known in records if known.get("image") in sdata.images}
        if len(sources) == 1:
            return sources.pop()
    return elements.find_image_key(sdata, image_key)


def find_view(
    sdata: SpatialData,
    image_key: str,
    region: Region | None,
    unit: CropUnit,
    coordinate_system: str | None = None,
    *,
    raster: maps.Map | None = None,
) -> MapView:
    """Return the view for `region`, clipped to the image. Default: the tissue, else where the raster has values."""
    if unit not in get_args(CropUnit):
        raise PixnetValueError(f"crop_unit={unit!r} is unknown; use one of {get_args(CropUnit)}.")
    grid = images.read_image(sdata, image_key).grid
    whole = Box(0.0, 0.0, float(grid.width), float(grid.height))
    if region is None:
        filled = tissue_box(sdata, image_key, coordinate_system)
        if filled is None and raster is not None:
            filled = extent_of_values(sdata, raster, image_key, coordinate_system)
        box = filled or whole
    elif isinstance(region, str):
        box = around_element(sdata, region, image_key, coordinate_system)
    else:
        box = stated_box(region, 1.0 if unit == "px" else units.image_mpp(sdata, image_key))
    return MapView(image_key, cut_box(box, whole, region, image_key), maps.raster_mpp(sdata, image_key))


def stated_box(region: Sequence[float], mpp: float) -> Box:
    corners = np.asarray(region)
    if corners.shape != (4,) or corners.dtype.kind not in "iuf" or not np.isfinite(corners).all():
        raise PixnetValueError(
            f"crop_coord must be four numbers, (x0, y0, x1, y1), or the key of an element; got {region!r}."
        )
    return Box(*(corners / mpp).tolist())


def tissue_box(sdata: SpatialData, image_key: str, coordinate_system: str | None) -> Box | None:
    """Return the surroundings of the tissue that is marked on an image; None where none is."""
    key = tissue_key(image_key)
    box = label_box(sdata, key, image_key, coordinate_system) if key in sdata.labels else None
    return None if box is None else with_margin(box)


def around_element(sdata: SpatialData, key: str, image_key: str, coordinate_system: str | None) -> Box:
    """Return the surroundings of shapes or labels, or all of an image."""
    if key in sdata.labels:
        if (box := label_box(sdata, key, image_key, coordinate_system)) is None:
            raise PixnetValueError(f"crop_coord={key!r} are labels without any label to show the surroundings of.")
        return with_margin(box)
    if key in sdata.images:
        grid = images.read_image(sdata, key).grid
        to_image = affine.matrix_between(sdata, key, image_key, coordinate_system)
        x, y, _ = to_image @ Box(0, 0, grid.width, grid.height).corners
        return Box(float(x.min()), float(y.min()), float(x.max()), float(y.max()))
    resolve_key(
        "shapes, labels and images", key, sorted(elements.element_names(sdata) - set(sdata.tables)), "crop_coord"
    )
    return with_margin(shapes_box(sdata, key, image_key, coordinate_system))


def label_box(sdata: SpatialData, key: str, image_key: str, coordinate_system: str | None) -> Box | None:
    mask = images.read_mask(sdata, key)[0]
    rows, columns = (load_lazy(mask.any(axis=axis)) for axis in (1, 0))
    to_image = affine.matrix_between(sdata, key, image_key, coordinate_system)
    return extent_of(rows[:, None] & columns[None], to_image)


def with_margin(box: Box) -> Box:
    margin = SURROUNDINGS * max(box.width, box.height)
    return Box(box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)


def shapes_box(sdata: SpatialData, key: str, image_key: str, coordinate_system: str | None) -> Box:
    grid = images.read_image(sdata, image_key).grid
    bounds = read_shapes(sdata, key, image_key, grid, coordinate_system).shapes.bounds
    if not np.isfinite(bounds).any():
        raise PixnetValueError(
            f"crop_coord={key!r} has {len(bounds)} shapes, and none of them has any area to show the surroundings of."
        )
    low, high = np.nanmin(bounds[:, :2], axis=0), np.nanmax(bounds[:, 2:], axis=0)
    return Box(*low.tolist(), *high.tolist())


def cut_box(box: Box, whole: Box, region: Region | None, image_key: str) -> Box:
    inside = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, whole.x1), min(box.y1, whole.y1))
    if not (inside.width > 0 and inside.height > 0):
        raise PixnetValueError(
            f"crop_coord={region!r} is {tuple(np.round(box, 1).tolist())} in pixels (x0, y0, x1, y1), without area on "
            f"image {image_key!r} of {whole.width:g} x {whole.height:g} px. Mind crop_unit, 'um' or 'px'."
        )
    return inside
