"""A whole-slide image by itself."""

from __future__ import annotations

from pathlib import Path

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.io import _assemble
from pixnet_sd.io._scan import Scan, read_scan


def slide(path: str | Path, *, mpp: float | None = None, image_key: str = "he") -> SpatialData:
    """Read a slide: OME-TIFF, SVS and other TIFF files lazily, with the levels that they have; PNG and JPEG whole.

    Of a file with several images the largest is read, not the label or the overview. µm per pixel are taken from the
    file's metadata (OME-XML, Aperio's description, resolution tags); where it has none, `mpp` is needed.

    Parameters
    ----------
    path
        The file. Pixels stay there until they are used; write the object to a store to be free of it.
    mpp
        µm per pixel of the finest level. Counts more than what the file says; a difference above 5 % warns.
    image_key
        Name of the image.

    Returns
    -------
    An object with the image, and coordinate systems in pixels (``"global"``) and in µm (``"micrometers"``).

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
        raise raise_unknown_mpp(scan)
    return _assemble.assemble_section(
        scan, _assemble.GlobalFrame(um=_assemble.choose_mpp(image_key, mpp, scan.stated_mpp)), image_key=image_key
    )


def raise_unknown_mpp(scan: Scan) -> PixnetValueError:
    said = "; ".join(f"{mpp:.4g} by {source}" for source, mpp in scan.unbelievable_mpp.items()) or "nothing"
    return PixnetValueError(
        f"µm per pixel of {scan.path} are unknown: the file says {said}. Pass mpp=..., e.g. mpp=0.5 for a scan at 20x, "
        "after a look at what the scanner's software says."
    )
