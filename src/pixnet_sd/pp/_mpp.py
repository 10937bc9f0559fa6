"""Determine µm per pixel of an image."""

from __future__ import annotations

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import elements, provenance, units


def mpp(
    sdata: SpatialData,
    image_key: str | None = None,
    *,
    mpp: float | None = None,
    coordinate_system: str | None = None,
    spots_key: str | None = None,
    pitch_um: float | None = None,
    inplace: bool = True,
) -> float:
    """Determine µm per pixel of an image, from the given or recorded source. It is never guessed.

    Without a source, return the value that an earlier call recorded, or that of a coordinate system in µm
    (``"micrometers"``, ``"um"``, ...). Otherwise, use the given source and record the result in
    ``sdata.attrs["pixnet_sd"]["mpp"]`` for later calls. Warns if sources differ by more than 5 %.

    Parameters
    ----------
    sdata
        SpatialData object with the image.
    image_key
        Key of the image. Optional if the object has exactly one image.
    mpp
        Known µm per pixel.
    coordinate_system
        Coordinate system of the image whose unit is µm, whatever its name.
    spots_key
        Key of circles with a known distance `pitch_um` between neighbors.
    pitch_um
        Distance between neighboring centers: 100 for Visium, 200 for the first Spatial Transcriptomics arrays.
    inplace
        Whether to record the result in the object.

    Returns
    -------
    µm per pixel of the image's finest level.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.pp.mpp(sdata)
    0.5
    """
    key = elements.find_image_key(sdata, image_key)
    given = {"mpp": mpp, "coordinate_system": coordinate_system, "spots_key": spots_key}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1 or (spots_key is None) != (pitch_um is None):
        raise PixnetValueError(
            f"Give one source of µm per pixel: mpp, or coordinate_system, or spots_key with pitch_um; got {given}, "
            f"pitch_um={pitch_um}."
        )
    if not given:
        return units.image_mpp(sdata, key)
    name, found = derive_mpp(sdata, key, mpp, coordinate_system, spots_key, pitch_um)
    units.check_mpp(key, name, found)
    units.warn_about_differences(key, {name: found, **units.stated_mpp(sdata, key)})
    if inplace:
        provenance.set_mpp_record(sdata, key, found)
    return found


def derive_mpp(
    sdata: SpatialData,
    image_key: str,
    mpp: float | None,
    coordinate_system: str | None,
    spots_key: str | None,
    pitch_um: float | None,
) -> tuple[str, float]:
    """Return the description of the given source and its µm per pixel."""
    if mpp is not None:
        return "the argument mpp", float(mpp)
    if coordinate_system is not None:
        return f"coordinate system {coordinate_system!r}", units.mpp_from_system(sdata, image_key, coordinate_system)
    # `mpp` has checked that one source is given, and both arguments of this one.
    assert spots_key is not None and pitch_um is not None
    key = elements.find_shapes_key(sdata, spots_key)
    return f"the pitch of {key!r}", units.mpp_from_pitch(sdata, image_key, key, pitch_um)
