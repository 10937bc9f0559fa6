"""µm per pixel: what was recorded, what a coordinate system in µm says, what a known spot pitch says. Never a guess."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._keys import suggest_names
from pixnet_sd._raster.lattice import find_visium_mpp
from pixnet_sd._sdata import affine, counts, elements
from pixnet_sd._sdata.provenance import recorded_scale
from pixnet_sd._sdata.shapes import are_circles, get_centers

# Twice "µm": the micro sign and the Greek letter look alike.
MICROMETRE_NAMES = {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"}
SANE_MPP = (0.05, 20.0)
TOLERANCE = 0.05
RECORD = "what pp.mpp recorded"
ARRAY = {"array_row", "array_col"}
"""Columns of tables of Visium."""


def image_mpp(sdata: SpatialData, image_key: str) -> float:
    """Find µm per pixel of an image from what the object states; raise if nothing does."""
    stated = stated_mpp(sdata, image_key)
    if not stated:
        raise PixnetValueError(
            f"µm per pixel of image {image_key!r} is unknown. State it in one of three ways: "
            f"pp.mpp(sdata, {image_key!r}, mpp=...); a coordinate system of the image whose units are µm, named "
            "'micrometers' or given as coordinate_system=...; or spots of a known pitch, "
            "pp.mpp(sdata, spots_key=..., pitch_um=...)."
        )
    warn_about_differences(image_key, stated)
    return check_mpp(image_key, *next(iter(stated.items())))


def stated_mpp(sdata: SpatialData, image_key: str) -> dict[str, float]:
    """Collect every statement of µm per pixel, the one that counts first; the pitch of Visium's spots is the last.

    A record says µm per unit of coordinate systems, so it holds for the pixels that are there now. What it says of a
    system in µm comes first; such a system that it does not know was added later and counts more than the rest of it.
    """
    found = recorded_mpp(sdata, image_key)
    # Whoever recorded another value was warned then.
    return found if RECORD in found else {**found, **visium_mpp(sdata, image_key)}


def recorded_mpp(sdata: SpatialData, image_key: str) -> dict[str, float]:
    """Collect what records and coordinate systems in µm state."""
    recorded, scales = recorded_scale(sdata, image_key), affine.pixel_scales(sdata.images[image_key])
    in_um = [name for name in scales if is_micrometre(name)]
    stated = {f"coordinate system {name!r}": mpp_from_system(sdata, image_key, name) for name in in_um}
    if recorded is None:
        return stated
    if isinstance(recorded, int | float):
        return {**stated, RECORD: float(recorded)}
    of_um = um_per_px({name: scales[name] for name in in_um}, recorded, image_key)
    of_all = of_um if of_um is not None else um_per_px(scales, recorded, image_key)
    if of_all is None:
        return stated
    return {**stated, RECORD: of_all} if of_um is None else {RECORD: of_all, **stated}


def visium_mpp(sdata: SpatialData, image_key: str) -> dict[str, float]:
    """Collect µm per pixel by spots that lie as Visium's do, e.g. in objects of `spatialdata_io.visium`."""
    spots = {
        region: mpp_from_array(sdata, image_key, key, region)
        for key, table in sdata.tables.items()
        if set(table.obs) >= ARRAY
        for region in elements.annotated_regions(table)
        if region in sdata.shapes and affine.is_over(sdata, region, image_key)
    }
    return {f"the pitch of Visium's spots, {region!r}": mpp for region, mpp in spots.items() if mpp is not None}


def mpp_from_array(sdata: SpatialData, image_key: str, table_key: str, spots_key: str) -> float | None:
    """Compute µm per pixel from circles and the columns of their array; None where they are none of Visium."""
    frame, table = sdata.shapes[spots_key], sdata.tables[table_key]
    selected, instances = counts.annotating_rows(table, table_key, spots_key)
    found = frame.index.get_indexer(pd.Index(instances)) if frame.index.is_unique else np.array([-1])
    if (found < 0).any() or not are_circles(frame):
        return None
    try:
        to_image = affine.matrix_between(sdata, spots_key, image_key)
    except PixnetValueError:  # places that contradict each other state nothing; whoever reads these shapes is told
        return None
    centers = get_centers(frame)[found] @ to_image[:2, :2].T + to_image[:2, 2]
    columns, rows = table.obs.loc[selected, ["array_col", "array_row"]].to_numpy(float).T
    diameter = 2 * float(np.median(frame["radius"])) * affine.area_scale(to_image)
    return find_visium_mpp(columns, rows, centers, diameter)


def um_per_px(scales: Mapping[str, float], um_per_unit: Mapping[str, float], key: str) -> float | None:
    """Compute µm per pixel by the first known coordinate system; None without one."""
    found = ((scale, affine.look_up(um_per_unit, name, key)) for name, scale in scales.items())
    return next((scale * um for scale, um in found if um is not None), None)


def um_per_unit(sdata: SpatialData, image_key: str) -> dict[str, float]:
    """Compute µm per unit of each coordinate system of an image; empty if nothing is stated."""
    stated, scales = stated_mpp(sdata, image_key), affine.pixel_scales(sdata.images[image_key])
    return {name: mpp / scale for mpp in list(stated.values())[:1] for name, scale in scales.items()}


def is_micrometre(system: str) -> bool:
    """Check the name, also with a suffix: `spatialdata.concatenate` adds one, also in the objects that it is given."""
    return system.lower().partition("-")[0] in MICROMETRE_NAMES


def mpp_from_system(sdata: SpatialData, image_key: str, coordinate_system: str) -> float:
    """Compute µm per pixel from a coordinate system whose units are µm."""
    found = affine.get_transformations(sdata.images[image_key])
    if coordinate_system not in found:
        raise PixnetValueError(
            f"Image {image_key!r} has no coordinate system {coordinate_system!r}; it has {sorted(found)}."
            f"{suggest_names(coordinate_system, found)}"
        )
    to_system = affine.to_matrix(found[coordinate_system])
    warn_about_anisotropy(image_key, coordinate_system, to_system)
    return affine.area_scale(to_system)


def mpp_from_pitch(
    sdata: SpatialData, image_key: str, spots_key: str, pitch_um: float, coordinate_system: str | None = None
) -> float:
    """Compute µm per pixel from neighboring spots of known pitch."""
    spots = get_centers(sdata.shapes[spots_key])
    if len(spots) < 2:
        raise PixnetValueError(f"{spots_key!r} has {len(spots)} spots; a pitch needs at least 2.")
    to_image = affine.matrix_between(sdata, spots_key, image_key, coordinate_system)
    spots_px = spots @ to_image[:2, :2].T + to_image[:2, 2]
    pitch_px = lattice_pitch(spots_px) if np.isfinite(spots_px).all() else np.nan
    if not pitch_px > 0:
        raise PixnetValueError(
            f"The {len(spots)} spots of {spots_key!r} have no pitch: their median distance is {pitch_px:g} px. "
            "Centers must be finite, and most of them in different places."
        )
    return pitch_um / pitch_px


def lattice_pitch(points: np.ndarray) -> float:
    """Estimate the distance of neighbors on a square or hexagonal lattice whose points stray a little.

    The nearest neighbor alone would be biased: it is the one that strayed towards the point. So all direct neighbors
    count, and those along the diagonal of a square do not.
    """
    tree = cKDTree(points)
    nearest = np.median(tree.query(points, k=2)[0][:, 1])
    pairs = tree.query_pairs(nearest * np.sqrt(np.sqrt(2)) * 1.05, output_type="ndarray")
    return float(np.median(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)))


def warn_about_anisotropy(image_key: str, coordinate_system: str, to_system: np.ndarray) -> None:
    """Warn about pixels that are not square, whose size is more than one number."""
    widest, narrowest = np.linalg.svd(to_system[:2, :2], compute_uv=False)
    # Singular values, because a shear too makes pixels that are not square, with sides of equal length.
    if widest > narrowest * (1 + TOLERANCE):
        width, height = np.linalg.norm(to_system[:2, :2], axis=0)
        warn(
            f"Pixels of image {image_key!r} are not square in {coordinate_system!r}: {width:.4g} x {height:.4g} µm "
            f"along x and y. {affine.area_scale(to_system):.4g} µm per pixel is used, and tissue looks stretched to a "
            "model. Resample the image to square pixels, or correct the transformation."
        )


def check_mpp(image_key: str, source: str, mpp: float) -> float:
    low, high = SANE_MPP
    if not low <= mpp <= high:
        raise PixnetValueError(
            f"µm per pixel of image {image_key!r} would be {mpp:.4g} by {source}, outside {low} to {high}. "
            "Check the units of the transformation or of the number given."
        )
    return float(mpp)


def warn_about_differences(image_key: str, stated: dict[str, float]) -> None:
    low, high = min(stated.values()), max(stated.values())
    if high > low * (1 + TOLERANCE):
        listing = "; ".join(f"{mpp:.4g} by {source}" for source, mpp in stated.items())
        warn(f"µm per pixel of image {image_key!r} differs between its sources: {listing}. The first is used.")
