"""Where measured shapes lie on an image: those that a table with counts annotates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine
from pixnet_sd._sdata.provenance import SLOT
from pixnet_sd._sdata.shapes import get_centres
from pixnet_sd._settings import logger

IN_TISSUE = "in_tissue"
"""Column in which Space Ranger says which spots lie under tissue."""


def measured_centres(sdata: SpatialData, image_key: str, grid: PixelGrid) -> np.ndarray:
    """Return the centres (n, 2), x and y, of all measured shapes, in pixels of a raster that lies over the image."""
    found = [np.empty((0, 2))]
    for shapes, rows in measured_rows(sdata, image_key):
        try:
            found.append(centres_on(sdata, shapes, rows, image_key, grid))
        except PixnetValueError as error:
            logger.warning("%r are not used to find the tissue: %s", shapes, error)
    centres = np.concatenate(found)
    return centres[np.isfinite(centres).all(axis=1)]


def measured_rows(sdata: SpatialData, image_key: str) -> Iterator[tuple[str, AnnData]]:
    """Yield each shapes element over the image with the rows of a table, not of ours, that were measured there."""
    for table in sdata.tables.values():
        annotated = table.uns.get("spatialdata_attrs")
        if annotated is None or SLOT in table.uns or table.X is None:
            continue
        region = table.obs[annotated["region_key"]]
        for shapes in region.unique():
            if shapes in sdata.shapes and affine.is_over(sdata, shapes, image_key):
                yield shapes, table[((region == shapes) & is_measured(table)).to_numpy()]


def is_measured(table: AnnData) -> np.ndarray:
    """Return which rows hold counts and, where the table says so, lie under tissue."""
    counted = np.asarray(table.X.sum(axis=1)).ravel() > 0
    return counted & (table.obs[IN_TISSUE].to_numpy() == 1) if IN_TISSUE in table.obs else counted


def centres_on(sdata: SpatialData, shapes: str, rows: AnnData, image_key: str, grid: PixelGrid) -> np.ndarray:
    frame = sdata.shapes[shapes]
    instances = rows.obs[rows.uns["spatialdata_attrs"]["instance_key"]]
    centres = get_centres(frame[frame.index.isin(instances)])
    to_raster = grid.from_source @ affine.matrix_between(sdata, shapes, image_key)
    return centres @ to_raster[:2, :2].T + to_raster[:2, 2]
