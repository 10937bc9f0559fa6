"""Reader of AnnData with positions in ``obsm``, as scanpy and squidpy keep them, and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import shapely
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._raster.lattice import find_visium_mpp
from pixnet_sd._settings import logger
from pixnet_sd.io import _assemble
from pixnet_sd.io._scan import RGBA, Scan, read_scan
from pixnet_sd.io._slide import unknown_mpp
from pixnet_sd.io._visium import SPOT_DIAMETER_UM

LIBRARY = "library_id"
SAME_SIZE = 0.01
"""Share by which sizes may differ that were rounded to whole pixels."""


def anndata(
    adata: AnnData,
    image: str | Path | np.ndarray | None = None,
    *,
    mpp: float | None = None,
    spot_diameter_um: float | None = None,
    scale: float | None = None,
    library_id: str | None = None,
    spatial_key: str = "spatial",
) -> SpatialData:
    """Put together AnnData with positions in ``obsm["spatial"]`` and its H&E image.

    Objects of ``squidpy.read.visium`` and ``scanpy.read_visium`` bring their image, its scale and their spots; others
    need the image, and what is not known of it.

    Parameters
    ----------
    adata
        Table of spots x genes, with raw counts in X or a layer. It is copied.
    image
        H&E image, as the path of a TIFF, PNG or JPEG file or as an array (y, x, 3) of uint8. Default: the finest in
        ``adata.uns["spatial"]``.
    mpp
        µm per pixel of that image. Default: from Visium's spots, which are 100 µm apart, where ``obs`` has their
        ``array_row`` and ``array_col``, or from the file. Warns if they differ by more than 5 %.
    spot_diameter_um
        Diameter of the spots. Default: 55 for Visium, or what ``adata.uns["spatial"]`` says.
    scale
        Pixels of the image for one unit of the positions. Default: by the size of the image where
        ``adata.uns["spatial"]`` has scale factors, else 1.
    library_id
        Which slide to read, if ``adata.uns["spatial"]`` has several. Rows are those that name it in
        ``obs["library_id"]``, where there is such a column.
    spatial_key
        Key of the positions in ``adata.obsm``.

    Returns
    -------
    Object with the image ``"he"``, the circles ``"spots"`` and the table ``"spots_counts"``; coordinate systems in
    pixels of the image (``"global"``) and in µm (``"micrometers"``).

    Raises
    ------
    PixnetValueError
        If positions, image, µm per pixel or diameter are missing or cannot be right.

    See Also
    --------
    pixnet_sd.io.visium : Read the output folder of Space Ranger.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pixnet_sd as ps
    >>> adata = ad.AnnData(np.ones((2, 3)), obsm={"spatial": np.array([[20.0, 20.0], [40.0, 20.0]])})
    >>> picture = np.full((64, 64, 3), 230, dtype=np.uint8)
    >>> sdata = ps.io.anndata(adata, picture, mpp=0.5, spot_diameter_um=8)
    >>> sdata["spots_counts"].shape
    (2, 3)
    """
    library, rows = find_library(adata, library_id)
    chosen = adata[rows].to_memory()
    positions = read_positions(chosen, spatial_key)
    scan = image_of(library) if image is None else scan_picture(image)
    scale = image_scale(scan, library) if scale is None else check_number("scale", scale)
    centers = positions * scale
    visium = visium_spots(chosen, centers, diameter_of(library, scale))
    frame = _assemble.GlobalFrame(um=choose_image_mpp(scan, mpp, visium))
    radius = spot_radius(spot_diameter_um, frame.um, library, scale, visium is not None)
    spots = _assemble.ReadShapes("spots", shapely.points(centers), chosen, radius=radius)
    log_left_out(chosen)
    return _assemble.assemble_section(scan, frame, [spots])


def find_library(adata: AnnData, library_id: str | None) -> tuple[Mapping[str, Any], np.ndarray]:
    """Find what ``uns["spatial"]`` says of one slide, and its rows."""
    if not isinstance(adata, AnnData):
        raise PixnetTypeError(f"adata must be AnnData, e.g. of anndata.read_h5ad(path); got {type(adata).__name__}.")
    if not adata.obs_names.is_unique:
        raise PixnetValueError("Names of the rows are repeated. Make them unique: adata.obs_names_make_unique().")
    libraries = adata.uns.get("spatial", {})
    if not isinstance(libraries, Mapping) or (not libraries and library_id is None):
        return {}, np.arange(adata.n_obs)
    name = resolve_key("slides in adata.uns['spatial']", library_id, map(str, libraries), LIBRARY)
    if LIBRARY not in adata.obs or (library_id is None and name not in set(adata.obs[LIBRARY].astype(str))):
        return libraries[name], np.arange(adata.n_obs)
    rows = np.flatnonzero(adata.obs[LIBRARY].astype(str) == name)
    if not len(rows):
        raise PixnetValueError(f"No row of the table has {name!r} in obs[{LIBRARY!r}].")
    return libraries[name], rows


def read_positions(adata: AnnData, key: str) -> np.ndarray:
    resolve_key("keys of adata.obsm", key, adata.obsm, "spatial_key")
    found = np.asarray(adata.obsm[key])
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf":
        raise PixnetValueError(f"obsm[{key!r}] must hold numbers x and y; got {found.shape} of {found.dtype}.")
    positions = found.astype(float)
    if not len(positions) or not np.isfinite(positions).all():
        odd = int((~np.isfinite(positions).all(axis=1)).sum())
        raise PixnetValueError(f"{odd} of {len(positions)} positions in obsm[{key!r}] are not finite; leave them out.")
    return positions


def scan_picture(image: str | Path | np.ndarray) -> Scan:
    if isinstance(image, str | Path):
        return read_scan(image).in_color()
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise PixnetValueError(
            f"image must be a path, or an array (y, x, 3) of uint8; got {pixels.shape} of {pixels.dtype}. Values from "
            "0 to 1 become these by (255 * image).round().astype('uint8'), (c, y, x) by np.moveaxis(image, 0, 2)."
        )
    return scan_of(pixels, "image")


def scan_of(pixels: np.ndarray, name: str) -> Scan:
    levels = (da.from_array(np.moveaxis(pixels, 2, 0), chunks=(-1, 1024, 1024)),)
    return Scan(Path(name), levels, RGBA[: pixels.shape[2]], {}, {})


def image_of(library: Mapping[str, Any]) -> Scan:
    """Read the finer image that scanpy and squidpy keep, as uint8 or as numbers from 0 to 1."""
    images = library.get("images", {})
    name = next((name for name in ("hires", "lowres") if name in images), None)
    if name is None:
        raise PixnetValueError(
            "adata.uns['spatial'] has no image: pass image=..., the path of the H&E image or its pixels (y, x, 3)."
        )
    pixels = np.asarray(images[name])
    if pixels.dtype.kind == "f":
        pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return scan_of(pixels, name)


def image_scale(scan: Scan, library: Mapping[str, Any]) -> float:
    """Find pixels of the image for one pixel of the microscope image, by the sizes of those in the table."""
    factors, images = library.get("scalefactors", {}), library.get("images", {})
    known = {
        name: float(factors[f"tissue_{name}_scalef"])
        for name in ("hires", "lowres")
        if name in images and f"tissue_{name}_scalef" in factors
    }
    if not known:
        return 1.0
    name, factor = next(iter(known.items()))
    ratios = np.array(scan.shape) / np.asarray(images[name]).shape[:2] * factor
    fitting = [scale for scale in (1.0, *known.values()) if np.allclose(ratios, scale, rtol=SAME_SIZE)]
    if fitting:
        return fitting[0]
    full = np.round(scan.shape / ratios).astype(int)
    raise PixnetValueError(
        f"The image has {scan.shape[0]} x {scan.shape[1]} px, the microscope image that the positions refer to about "
        f"{full[0]} x {full[1]}. If both show the same, pass scale=..., pixels of the image for one of these: "
        f"{ratios[0]:.4g} by its height, {ratios[1]:.4g} by its width."
    )


def diameter_of(library: Mapping[str, Any], scale: float) -> float | None:
    """Return the diameter of spots in pixels of the image, where it is known."""
    found = library.get("scalefactors", {}).get("spot_diameter_fullres")
    return None if found is None else float(found) * scale


def visium_spots(adata: AnnData, centers: np.ndarray, diameter_px: float | None) -> float | None:
    """Return µm per pixel of the image where the rows are Visium's spots."""
    if not {"array_row", "array_col"} <= set(adata.obs):
        return None
    columns, rows = adata.obs[["array_col", "array_row"]].to_numpy(float).T
    return find_visium_mpp(columns, rows, centers, diameter_px)


def choose_image_mpp(scan: Scan, asked: float | None, visium: float | None) -> float:
    by_pitch = {} if visium is None else {"the spots' pitch of 100 µm": visium}
    known = {**by_pitch, **scan.stated_mpp}
    if asked is None and not known:
        raise unknown_mpp(scan)
    return _assemble.choose_mpp(_assemble.IMAGE, asked, known)


def spot_radius(asked_um: float | None, mpp: float, library: Mapping[str, Any], scale: float, is_visium: bool) -> float:
    """Return the radius of spots in pixels of the image."""
    if asked_um is None and is_visium:
        asked_um = SPOT_DIAMETER_UM
    if asked_um is not None:
        return check_number("spot_diameter_um", asked_um) / 2 / mpp
    stated = diameter_of(library, scale)
    if stated is None:
        raise PixnetValueError("How large the spots are is unknown: pass spot_diameter_um=..., e.g. 55 for Visium.")
    return stated / 2


def check_number(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and 0 < value < np.inf):
        raise PixnetValueError(f"{name} must be a positive number; got {value!r}.")
    return float(value)


def log_left_out(adata: AnnData) -> None:
    """Log the parts that the new table does not keep."""
    dropped = [name for name in ("raw", "obsp", "varm", "varp") if getattr(adata, name) is not None]
    dropped = [name for name in dropped if name == "raw" or len(getattr(adata, name))]
    if dropped:
        logger.info("left out of the table: %s", ", ".join(f"adata.{name}" for name in dropped))
