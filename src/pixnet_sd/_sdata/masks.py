"""Tissue labels as seen from the pixels of a raster, whatever the two's places and sizes of pixel."""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._raster.grid import PixelGrid, Window
from pixnet_sd._sdata import affine, images
from pixnet_sd._settings import logger


@dataclass(frozen=True)
class Tissue:
    """Where there is tissue: a pixel of the raster counts by its center."""

    labels: da.Array
    """(1, y, x): 1 on tissue."""
    from_raster: np.ndarray
    """3 x 3, raster pixels to pixels of the labels."""

    def on(self, window: Window) -> np.ndarray:
        """Boolean (y, x) for a window of the raster. Beyond the labels there is no tissue."""
        rows, columns = np.indices(window.shape).reshape(2, -1) + 0.5
        centers = np.stack([columns + window.x0, rows + window.y0, np.ones_like(rows)])
        x, y = np.floor((self.from_raster @ centers)[:2]).astype(int)
        height, width = self.labels.shape[1:]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        found = np.zeros(len(x), bool)
        if inside.any():
            found[inside] = self.look_up(y[inside], x[inside])
        return found.reshape(window.shape)

    def look_up(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        y0, x0 = y.min(), x.min()
        part = load_lazy(self.labels[0, y0 : y.max() + 1, x0 : x.max() + 1], scheduler="synchronous")
        return part[y - y0, x - x0] > 0


def read_tissue(sdata: SpatialData, image_key: str, tissue_key: str | None, grid: PixelGrid) -> Tissue | None:
    """Tissue for a raster that lies on `grid` over an image; None, and a line in the log, where no labels mark it."""
    key = tissue_key or default_tissue_key(image_key)
    if key not in sdata.labels:
        if tissue_key is not None:
            resolve_key("labels", tissue_key, sdata.labels, "tissue_key")
        logger.warning("no labels %r: the whole image is predicted, glass gets values too: run pp.tissue first", key)
        return None
    to_image = affine.matrix_between(sdata, key, image_key)
    return Tissue(images.read_mask(sdata, key), np.linalg.solve(to_image, grid.to_source))
