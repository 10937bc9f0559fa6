"""µm per pixel of an image."""

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
    """µm per pixel of an image: stated, or derived from what is known. It is never guessed.

    With nothing but the object, gives what an earlier call recorded, or what a coordinate system named in µm
    (``"micrometers"``, ``"um"``, ...) says. With one of the other arguments, that source counts, and the result is
    recorded in ``sdata.attrs["pixnet_sd"]["mpp"]`` for later calls. Sources more than 5 % apart give a warning.

    Parameters
    ----------
    sdata
        The object that holds the image.
    image_key
        The image; may be left out when there is one.
    mpp
        µm per pixel, if you know it.
    coordinate_system
        A coordinate system of the image whose units are µm, whatever its name.
    spots_key
        Circles whose distance from one to the next is known; give `pitch_um` as well.
    pitch_um
        That distance, centre to centre: 100 for Visium, 200 for the first Spatial Transcriptomics arrays.
    inplace
        Record the result in the object.

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
    """The one source that was given, in words, and what it says."""
    if mpp is not None:
        return "the argument mpp", float(mpp)
    if coordinate_system is not None:
        return f"coordinate system {coordinate_system!r}", units.mpp_from_system(sdata, image_key, coordinate_system)
    assert spots_key is not None and pitch_um is not None
    key = elements.find_shapes_key(sdata, spots_key)
    return f"the pitch of {key!r}", units.mpp_from_pitch(sdata, image_key, key, pitch_um)
