"""Tissue as seen from the pixels of a raster, whatever the two's places and sizes of pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._keys import resolve_key
from pixnet_sd._keys import tissue_key as default_tissue_key
from pixnet_sd._raster.grid import PixelGrid, Window
from pixnet_sd._sdata import affine, images
from pixnet_sd._sdata.tissue import FoundTissue, search_tissue
from pixnet_sd._settings import logger

AUTO = "auto"
"""The labels that pp.tissue made, or else what it would find."""


@dataclass(frozen=True)
class Tissue:
    """Where there is tissue: a pixel of the raster counts by its center."""

    labels: da.Array
    """(1, y, x): 1 on tissue."""
    from_raster: np.ndarray
    """3 x 3, raster pixels to pixels of the labels."""
    key: str | None = None
    """The labels element; None where the tissue was found."""

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

    def save(self, path: Path) -> None:
        """Write tissue that was found, for another process."""
        np.savez_compressed(path, labels=load_lazy(self.labels), from_raster=self.from_raster)


def load_tissue(path: Path) -> Tissue:
    with np.load(path, allow_pickle=False) as held:
        return Tissue(da.from_array(held["labels"]), held["from_raster"])


def read_tissue(
    sdata: SpatialData,
    image_key: str,
    tissue_key: str | None,
    grid: PixelGrid,
    mpp: float,
    value_range: tuple[float, float] | None = None,
) -> Tissue | None:
    """Read or find the tissue for a raster that lies on `grid` over an image; None where everything counts.

    One line in the log says where it comes from.
    """
    if tissue_key is None:
        logger.info("tissue_key=None: all of %r is predicted, glass too", image_key)
        return None
    if tissue_key == AUTO and default_tissue_key(image_key) not in sdata.labels:
        return to_tissue(search_tissue(sdata, image_key, mpp, value_range=value_range), image_key, grid)
    asked = default_tissue_key(image_key) if tissue_key == AUTO else tissue_key
    key = resolve_key("labels", asked, sdata.labels, "tissue_key")
    logger.info("the tissue of %r is that of labels %r", image_key, key)
    return read_labels_as_tissue(sdata, key, image_key, grid.to_source)


def read_labels_as_tissue(sdata: SpatialData, key: str, image_key: str, to_image: np.ndarray) -> Tissue:
    """Read labels as tissue for a raster whose pixels `to_image` takes to those of the image."""
    from_labels = affine.matrix_between(sdata, key, image_key)
    return Tissue(images.read_mask(sdata, key), np.linalg.solve(from_labels, to_image), key)


def to_tissue(found: FoundTissue, image_key: str, grid: PixelGrid) -> Tissue | None:
    """Return what was found for a raster on `grid`; None where it cuts nothing, or must not."""
    if found.doubt is not None:
        logger.warning(
            "the tissue found on %r is not used, for %s: all of it is predicted, glass too. Mark tissue with "
            "pp.tissue(sdata, sensitivity=...) and look at it, or pass tissue_key=None",
            image_key,
            found.doubt,
        )
        return None
    logger.info("tissue found on %r: %.0f %% of it; tissue_key=None predicts all", image_key, 100 * found.mask.mean())
    if found.mask.all():
        return None
    return Tissue(da.from_array(found.mask.astype(np.uint8)[None]), found.grid.from_source @ grid.to_source)
