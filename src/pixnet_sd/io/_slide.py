"""Reader of whole-slide images."""

from __future__ import annotations

from pathlib import Path

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.io import _assemble
from pixnet_sd.io._scan import Scan, read_scan


def slide(path: str | Path, *, mpp: float | None = None, image_key: str = "he") -> SpatialData:
    """Read a slide: OME-TIFF, SVS and other TIFF files lazily, with their levels; PNG and JPEG as a whole.

    From files with several images (label, overview), the largest is read. µm per pixel are read from the metadata
    (OME-XML, Aperio's description, resolution tags); without them, `mpp` is required.

    Parameters
    ----------
    path
        Path of the file. Pixels are read from it when needed, until the object is written to a store.
    mpp
        µm per pixel of the finest level. Takes precedence over the metadata; warns if they differ by more than 5 %.
    image_key
        Key of the image.

    Returns
    -------
    Object with the image, and coordinate systems in pixels (``"global"``) and µm (``"micrometers"``).

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> import tifffile
    >>> pixels = ps.datasets.toy(size_px=256)["he"].values
    >>> tifffile.imwrite("he.ome.tif", pixels, photometric="rgb", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    >>> ps.pp.mpp(ps.io.slide("he.ome.tif"))
    0.5
    """
    scan = read_scan(path)
    if mpp is None and not scan.stated_mpp:
        raise unknown_mpp(scan)
    return _assemble.assemble_section(
        scan, _assemble.GlobalFrame(um=_assemble.choose_mpp(image_key, mpp, scan.stated_mpp)), image_key=image_key
    )


def unknown_mpp(scan: Scan) -> PixnetValueError:
    stated = "; ".join(f"{mpp:.4g} by {source}" for source, mpp in scan.unbelievable_mpp.items()) or "nothing"
    return PixnetValueError(
        f"µm per pixel of {scan.path} are unknown: the file says {stated}. Pass mpp=..., e.g. mpp=0.5 for a scan at "
        "20x; the scanner's software shows the value."
    )
