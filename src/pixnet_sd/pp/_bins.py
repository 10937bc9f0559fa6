"""Make square bins over the tissue."""

from __future__ import annotations

from numbers import Real
from typing import Literal, overload

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, build, elements, images, units
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._settings import logger
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.shapes import from_polygons

BIN_LIMIT = 50_000_000


@overload
def bins(
    sdata: SpatialData,
    size_um: float,
    *,
    image_key: str | None = ...,
    tissue_key: str | None = ...,
    min_tissue: float = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
) -> gpd.GeoDataFrame: ...


@overload
def bins(
    sdata: SpatialData,
    size_um: float,
    *,
    image_key: str | None = ...,
    tissue_key: str | None = ...,
    min_tissue: float = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def bins(
    sdata: SpatialData,
    size_um: float,
    *,
    image_key: str | None = None,
    tissue_key: str | None = None,
    min_tissue: float = 0.5,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
) -> gpd.GeoDataFrame | None:
    """Cover the tissue with square bins, as a shapes element.

    Bins start at the image's upper left corner, so four bins of 8 µm exactly fill one of 16 µm. Bins that would extend
    beyond the image are left out.

    Parameters
    ----------
    sdata
        SpatialData object with the image.
    size_um
        Side of the bins in µm.
    image_key
        Key of the image. Optional if the object has exactly one image.
    tissue_key
        Key of the tissue labels. Default: ``"{image}_tissue"``; if there are none, bins fill the whole image.
    min_tissue
        Least share of a bin's area that is tissue.
    key_added
        Key of the new shapes. Default: ``"bins_{size_um}um"``.
    overwrite
        Whether to replace existing shapes.
    inplace
        Whether to add the shapes to the object or return them.

    Returns
    -------
    The shapes element if ``inplace=False``, otherwise `None`.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.pp.bins(sdata, 16)
    >>> len(sdata.shapes["bins_16um"])
    64
    """
    check_bin_size(size_um)
    key = elements.find_image_key(sdata, image_key)
    name = key_added or f"bins_{size_um:g}um"
    if inplace:
        check_results(sdata, {name: "shapes"}, overwrite=overwrite)
    size_px = size_um / units.image_mpp(sdata, key)
    rows, columns = bin_lattice(images.read_image(sdata, key).grid, size_px, size_um)
    squares = shapely.box(columns * size_px, rows * size_px, (columns + 1) * size_px, (rows + 1) * size_px)
    labels_key = find_tissue_key(sdata, key, tissue_key)
    on_tissue = select_on_tissue(sdata, key, labels_key, squares, min_tissue)
    if not on_tissue.any():
        raise PixnetValueError(
            f"None of the {len(on_tissue):,} bins of {size_um:g} µm has {min_tissue:g} of its area in {labels_key!r}, "
            "and an element cannot be empty. Check the labels, or pass a smaller min_tissue."
        )
    frame = build.make_polygons(
        squares[on_tissue],
        pd.RangeIndex(int(on_tissue.sum())),
        affine.get_transformations(sdata.images[key]),
        array_row=rows[on_tissue],
        array_col=columns[on_tissue],
    )
    if not inplace:
        return frame
    facts = {"kind": "bins", "image": key, "size_um": float(size_um), "tissue": labels_key}
    attach(sdata, {name: frame}, {name: facts}, overwrite=overwrite)
    return None


def check_bin_size(size_um: object) -> None:
    if not isinstance(size_um, Real):
        raise PixnetTypeError(f"size_um must be a number of µm, such as 8; got {size_um!r}.")
    if not 0 < float(size_um) < np.inf:
        raise PixnetValueError(f"size_um must be positive and finite; got {size_um}.")


def bin_lattice(grid: PixelGrid, size_px: float, size_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of all bins that fit into the image, row by row."""
    # The tolerance keeps the last bin of an image that is a whole number of bins wide.
    n_rows, n_columns = (np.floor(side / size_px * (1 + 1e-9)) for side in grid.shape)
    if not 1 <= n_rows * n_columns <= BIN_LIMIT:
        raise PixnetValueError(
            f"Bins of {size_um:g} µm ({size_px:.3g} px) on an image of {grid.height} x {grid.width} px would be "
            f"{n_rows * n_columns:.6g}; between 1 and {BIN_LIMIT:,} can be made."
        )
    rows, columns = np.indices((int(n_rows), int(n_columns)))
    return rows.ravel(), columns.ravel()


def find_tissue_key(sdata: SpatialData, image_key: str, tissue_key: str | None) -> str | None:
    key = tissue_key or default_tissue_key(image_key)
    if key in sdata.labels:
        return key
    if tissue_key is not None:
        return resolve_key("labels", tissue_key, sdata.labels, "tissue_key")
    logger.info("no labels %r: bins fill the whole image; pp.tissue makes them", key)
    return None


def select_on_tissue(
    sdata: SpatialData, image_key: str, labels_key: str | None, squares: np.ndarray, min_tissue: float
) -> np.ndarray:
    if labels_key is None:
        return np.ones(len(squares), dtype=bool)
    shapes = from_polygons(squares, affine.matrix_between(sdata, image_key, labels_key))
    share = aggregate(images.read_mask(sdata, labels_key), shapes, "mean").values[:, 0]
    # Bins outside the labels have no share (NaN).
    return np.nan_to_num(share) >= min_tissue
