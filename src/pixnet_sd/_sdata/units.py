"""µm per pixel: what was recorded, what a coordinate system in µm says, what a known spot pitch says. Never a guess."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial import cKDTree
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, PixnetWarning
from pixnet_sd._sdata import affine
from pixnet_sd._sdata.geometry import centres
from pixnet_sd._sdata.provenance import recorded_mpp

MICROMETRE_NAMES = {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"}
SANE_MPP = (0.05, 20.0)
TOLERANCE = 0.05


def image_mpp(sdata: SpatialData, image_key: str) -> float:
    """µm per pixel of an image, from what is stated in the object; an error where nothing is."""
    stated = sources(sdata, image_key)
    if not stated:
        raise PixnetValueError(
            f"µm per pixel of image {image_key!r} is unknown. State it in one of three ways: "
            f"pp.mpp(sdata, {image_key!r}, mpp=...); a coordinate system of the image whose units are µm, named "
            "'micrometers' or given as coordinate_system=...; or spots of a known pitch, "
            "pp.mpp(sdata, spots_key=..., pitch_um=...)."
        )
    warn_about_differences(image_key, stated)
    return check_mpp(image_key, *next(iter(stated.items())))


def sources(sdata: SpatialData, image_key: str) -> dict[str, float]:
    """Every statement there is, the one that counts first."""
    stated = {}
    if (known := recorded_mpp(sdata, image_key)) is not None:
        stated["what pp.mpp recorded"] = known
    for name in affine.transformations(sdata.images[image_key]):
        if name.lower() in MICROMETRE_NAMES:
            stated[f"coordinate system {name!r}"] = mpp_from_system(sdata, image_key, name)
    return stated


def mpp_from_system(sdata: SpatialData, image_key: str, coordinate_system: str) -> float:
    """µm per pixel, where the coordinate system's units are µm."""
    found = affine.transformations(sdata.images[image_key])
    if coordinate_system not in found:
        raise PixnetValueError(
            f"Image {image_key!r} has no coordinate system {coordinate_system!r}; it has {sorted(found)}."
        )
    to_system = affine.matrix(found[coordinate_system])
    warn_about_anisotropy(image_key, coordinate_system, to_system)
    return area_scale(to_system)


def mpp_from_pitch(
    sdata: SpatialData, image_key: str, spots_key: str, pitch_um: float, coordinate_system: str | None = None
) -> float:
    """µm per pixel, from neighbouring spots, whose pitch is known."""
    spots = centres(sdata.shapes[spots_key])
    if len(spots) < 2:
        raise PixnetValueError(f"{spots_key!r} has {len(spots)} spots; a pitch needs at least 2.")
    to_image = affine.between(sdata, spots_key, image_key, coordinate_system)
    spots_px = spots @ to_image[:2, :2].T + to_image[:2, 2]
    pitch_px = lattice_pitch(spots_px) if np.isfinite(spots_px).all() else np.nan
    if not pitch_px > 0:
        raise PixnetValueError(
            f"The {len(spots)} spots of {spots_key!r} have no pitch: their median distance is {pitch_px:g} px. "
            "Centres must be finite, and most of them in different places."
        )
    return pitch_um / pitch_px


def lattice_pitch(points: np.ndarray) -> float:
    """Distance of neighbours on a square or hexagonal lattice whose points stray a little.

    The nearest neighbour alone would be biased: it is the one that strayed towards the point. So all direct neighbours
    count, and those along the diagonal of a square do not.
    """
    tree = cKDTree(points)
    nearest = np.median(tree.query(points, k=2)[0][:, 1])
    pairs = tree.query_pairs(nearest * np.sqrt(np.sqrt(2)) * 1.05, output_type="ndarray")
    return float(np.median(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)))


def area_scale(matrix: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def warn_about_anisotropy(image_key: str, coordinate_system: str, to_system: np.ndarray) -> None:
    """A pixel that is not square: one number cannot say its size."""
    widest, narrowest = np.linalg.svd(to_system[:2, :2], compute_uv=False)
    if widest > narrowest * (1 + TOLERANCE):
        width, height = np.linalg.norm(to_system[:2, :2], axis=0)
        warnings.warn(
            f"Pixels of image {image_key!r} are not square in {coordinate_system!r}: {width:.4g} x {height:.4g} µm "
            f"along x and y. {area_scale(to_system):.4g} µm per pixel is used, and tissue looks stretched to a model. "
            "Resample the image to square pixels, or correct the transformation.",
            PixnetWarning,
            stacklevel=2,
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
        warnings.warn(
            f"µm per pixel of image {image_key!r} differs between its sources: {listing}. The first is used.",
            PixnetWarning,
            stacklevel=2,
        )
