"""Affine maps between elements, as 3 x 3 matrices on (x, y, 1) columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from spatialdata import SpatialData
from spatialdata.transformations import (
    BaseTransformation,
    Scale,
    Sequence,
    Translation,
    get_transformation,
)

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._keys import suggest_names
from pixnet_sd._raster.grid import PixelGrid

AXES = ("x", "y")
AGREEMENT_PX = 0.5
"""Two coordinate systems tell the same story when they place an image's corners within this distance."""


def get_transformations(element: Any) -> dict[str, BaseTransformation]:
    return dict(get_transformation(element, get_all=True))


def to_matrix(transformation: BaseTransformation) -> np.ndarray:
    return np.asarray(transformation.to_affine_matrix(input_axes=AXES, output_axes=AXES), dtype=float)


def area_scale(matrix: np.ndarray) -> float:
    """Compute the side of a square with the area that a unit square is mapped to."""
    # By area, so that it is right for statistics also where x and y are scaled differently; reflections are negative.
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def pixel_scales(element: Any) -> dict[str, float]:
    """Compute the side of a pixel in units of each coordinate system."""
    found = {name: area_scale(to_matrix(onwards)) for name, onwards in get_transformations(element).items()}
    # Singular and infinite transformations say nothing of a pixel's size.
    return {name: scale for name, scale in found.items() if 0 < scale < np.inf}


def look_up(known: Mapping[str, float], system: str, key: str) -> float | None:
    """Look up a coordinate system, also if `spatialdata.concatenate` renamed it with the element `key`."""
    renamed = (value for name, value in known.items() if is_renamed(system, name, key))
    return known[system] if system in known else next(renamed, None)


def is_renamed(system: str, name: str, key: str) -> bool:
    suffix = system.removeprefix(name)
    if suffix == system or not suffix.startswith("-"):
        return False
    # It renames systems of the objects that it is given, too, so a second call on these adds the suffix once more.
    own = key[key.rfind("-") :] if "-" in key else key
    return key.endswith(suffix) or suffix == own * (len(suffix) // len(own))


def affine_product(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    product = outer @ inner
    product[2] = 0.0, 0.0, 1.0  # rounding must not make it a projection
    return product


def is_over(sdata: SpatialData, key: str, image_key: str) -> bool:
    """Return whether two elements have a coordinate system in common."""
    return not get_transformations(sdata[key]).keys().isdisjoint(get_transformations(sdata[image_key]))


def matrix_between(
    sdata: SpatialData, source_key: str, image_key: str, coordinate_system: str | None = None
) -> np.ndarray:
    """Compute the map from an element's coordinates to scale0 pixels of an image, by a shared coordinate system."""
    sources, targets = get_transformations(sdata[source_key]), get_transformations(sdata[image_key])
    common = [name for name in sources if name in targets]
    if not common:
        raise PixnetValueError(
            f"{source_key!r} and {image_key!r} share no coordinate system: {sorted(sources)} against "
            f"{sorted(targets)}. "
            "Add one with spatialdata.transformations.set_transformation."
        )
    if coordinate_system is not None and coordinate_system not in common:
        raise PixnetKeyError(
            f"coordinate_system={coordinate_system!r} does not hold both {source_key!r} and {image_key!r}; "
            f"these do: {', '.join(map(repr, common))}.{suggest_names(coordinate_system, common)}"
        )
    chosen = [coordinate_system] if coordinate_system is not None else common
    maps = {
        name: affine_product(check_invertible(targets[name], image_key, name), to_matrix(sources[name]))
        for name in chosen
    }
    check_agreement(maps, sdata, source_key, image_key)
    # Where SpatialData puts elements unless told otherwise.
    return maps["global" if "global" in maps else chosen[0]]


def check_invertible(transformation: BaseTransformation, key: str, coordinate_system: str) -> np.ndarray:
    forward = to_matrix(transformation)
    scale = np.abs(forward[:2, :2]).max()  # tiny where the system's unit is large, e.g. metres
    if not np.isfinite(forward).all() or abs(np.linalg.det(forward[:2, :2])) <= 1e-14 * scale**2:
        raise PixnetValueError(
            f"The transformation of {key!r} to {coordinate_system!r} cannot be inverted: {forward.tolist()}. "
            "Set a regular one with spatialdata.transformations.set_transformation."
        )
    return np.linalg.inv(forward)


def check_agreement(maps: dict[str, np.ndarray], sdata: SpatialData, source_key: str, image_key: str) -> None:
    if len(maps) < 2:
        return
    height, width = finest_array(sdata[image_key]).shape[-2:]
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    first, *others = maps.values()
    places = np.linalg.solve(first, corners)
    apart = max(np.abs((other @ places - corners)[:2]).max() for other in others)
    # Negated, because NaN must be refused too.
    if not apart <= AGREEMENT_PX:
        raise PixnetValueError(
            f"The coordinate systems {sorted(maps)} place {source_key!r} up to {apart:.1f} px apart on {image_key!r}. "
            "Say which one is right with coordinate_system=... where a call takes it, or remove the wrong one: "
            "spatialdata.transformations.remove_transformation."
        )


def finest_array(raster: Any) -> xr.DataArray:
    """Return the pixels of an image or labels element; of a pyramid, the finest level."""
    return raster if isinstance(raster, xr.DataArray) else next(iter(raster["scale0"].values()))


def grid_transformations(element: Any, grid: PixelGrid) -> dict[str, BaseTransformation]:
    """Make transformations for a raster on `grid` over an element, one for each of its coordinate systems."""
    place = [Scale(list(grid.step), axes=AXES)]
    if grid.origin != (0.0, 0.0):
        place.append(Translation(list(grid.origin), axes=AXES))
    return {name: Sequence([*place, onwards]) for name, onwards in get_transformations(element).items()}
