"""Read what tells whether shapes lie where they belong: their centers, the tissue and color below, their counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dask.array as da
import numpy as np
from scipy import ndimage
from spatialdata import SpatialData

from pixnet_sd._dask import load_lazy
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import tissue_key
from pixnet_sd._metrics.alignment import Raster, expression_components
from pixnet_sd._raster.tissue import DARKEST, tissue_mask
from pixnet_sd._sdata import affine, counts, elements, images, units
from pixnet_sd._sdata import shapes as placement
from pixnet_sd._sdata.elements import annotated_regions
from pixnet_sd._settings import logger
from pixnet_sd._zonal.shapes import Shapes

WORKING_MPP = 8.0
MOST_SHAPES = 4000
"""So many, evenly drawn, stand for all."""
LEAST_SHAPES = 20
"""With counts; fewer say nothing of whether expression follows color."""
GENES = 200
"""The commonest; the others are noise in a single shape."""

IN_TISSUE = "in_tissue"
"""Column in which Space Ranger says which spots lie under tissue."""


@dataclass(frozen=True)
class MeasuredShapes:
    """Expression of some shapes."""

    centers: np.ndarray
    """(n, 2) in finest pixels of the image."""
    expression: np.ndarray
    """(n, k), see `programs`."""


def read_overview(sdata: SpatialData, image_key: str, value_range: tuple[float, float] | None) -> images.Level:
    """Read the H&E image at about 8 µm per pixel into memory."""
    image = images.read_rgb(sdata, image_key, value_range)
    level = images.read_overview_level(image, max(1.0, WORKING_MPP / units.image_mpp(sdata, image_key)))
    return replace(level, data=da.from_array(load_lazy(level.data, scheduler="synchronous")))


def read_tissue_overview(
    sdata: SpatialData,
    image_key: str,
    value_range: tuple[float, float] | None,
    level: images.Level | None = None,
) -> Raster:
    """Read the labels that pp.tissue attached, or find the tissue without attaching it.

    The image is read only where there are no labels, and not again where its overview is given as `level`.
    """
    key = tissue_key(image_key)
    if key in sdata.labels:
        labels = load_lazy(images.read_mask(sdata, key)[0]) > 0
        return Raster(labels, np.linalg.inv(affine.matrix_between(sdata, key, image_key)))
    level = level or read_overview(sdata, image_key, value_range)
    mpp = images.level_mpp(level, units.image_mpp(sdata, image_key))
    return Raster(tissue_mask(load_lazy(level.data), mpp), level.grid.from_source)


def read_color(level: images.Level, diameter_px: float) -> Raster:
    """Optical density of each channel, averaged over about a shape."""
    pixels = load_lazy(level.data)
    white = 255 if pixels.dtype == np.uint8 else 1
    density = -np.log10(np.maximum(pixels.astype(np.float32) / white, DARKEST))
    size = max(1, round(diameter_px / max(level.grid.step)))
    return Raster(ndimage.uniform_filter(density, (0, size, size), mode="nearest"), level.grid.from_source)


def read_shapes_in_image(sdata: SpatialData, shapes_key: str, image_key: str, coordinate_system: str | None) -> Shapes:
    """Read shapes in finest pixels of the image."""
    grid = images.read_image(sdata, image_key).grid
    shapes = placement.read_shapes(sdata, shapes_key, image_key, grid, coordinate_system).shapes
    if not (shapes.area > 0).any():
        raise PixnetValueError(f"None of the {len(shapes)} shapes of {shapes_key!r} has any area.")
    return shapes


def even_rows(count: int) -> np.ndarray:
    """Choose evenly spaced rows to represent all `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_SHAPES)).astype(int))


def measured_table(sdata: SpatialData, shapes_key: str, asked: str | None) -> str:
    if asked is not None:
        return elements.find_table_key(sdata, asked)
    found = [key for key in elements.measured_tables(sdata) if shapes_key in annotated_regions(sdata[key])]
    if len(found) != 1:
        listing = f"{len(found)} tables annotate {shapes_key!r}: {found}" if found else "there are no counts"
        raise PixnetValueError(f"{listing}; name one with table_key=...")
    return found[0]


def read_measured_expression(
    sdata: SpatialData, shapes_key: str, centers: np.ndarray, table_key: str, layer: str | None
) -> MeasuredShapes:
    """Expression of the shapes with counts, evenly drawn."""
    table = sdata.tables[table_key]
    selected, instances = counts.annotating_rows(table, table_key, shapes_key)
    drawn = even_rows(len(instances))
    rows = counts.find_positions(sdata.shapes[shapes_key], shapes_key, instances.iloc[drawn], table_key)
    matrix = counts.to_csr(table[np.flatnonzero(selected)[drawn]], layer, table_key)
    counts.check_counts(matrix, table_key, layer)
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    kept = (totals > 0) & np.isfinite(centers[rows]).all(axis=1)
    if kept.sum() < LEAST_SHAPES:
        raise PixnetValueError(f"{kept.sum()} shapes have counts, and {LEAST_SHAPES} are needed to tell")
    commonest = np.argsort(-np.asarray(matrix.sum(axis=0)).ravel(), kind="stable")[:GENES]
    dense = matrix[kept][:, commonest].toarray().astype(float)
    return MeasuredShapes(centers[rows[kept]], expression_components(dense, totals[kept]))


def measured_centers(sdata: SpatialData, image_key: str) -> np.ndarray:
    """Return the centers (n, 2), x and y, of all measured shapes over an image, in its finest pixels."""
    found = [np.empty((0, 2))]
    for key in elements.measured_tables(sdata):
        for shapes in annotated_regions(sdata.tables[key]):
            if shapes in sdata.shapes and affine.is_over(sdata, shapes, image_key):
                try:
                    to_image = affine.matrix_between(sdata, shapes, image_key)
                except PixnetValueError as error:
                    logger.warning("%r are not used to find the tissue: %s", shapes, error)
                    continue
                found.append(centers_with_counts(sdata, key, shapes) @ to_image[:2, :2].T + to_image[:2, 2])
    centers = np.concatenate(found)
    return centers[np.isfinite(centers).all(axis=1)]


def centers_with_counts(sdata: SpatialData, table_key: str, shapes_key: str) -> np.ndarray:
    """Return the centers of shapes that hold counts and, where the table says so, lie under tissue."""
    table, frame = sdata.tables[table_key], sdata.shapes[shapes_key]
    selected, instances = counts.annotating_rows(table, table_key, shapes_key)
    rows = table[selected]
    if rows.X is None:
        return np.empty((0, 2))
    measured = np.asarray(rows.X.sum(axis=1)).ravel() > 0
    if IN_TISSUE in rows.obs:
        measured &= rows.obs[IN_TISSUE].to_numpy() == 1
    return placement.get_centers(frame[frame.index.isin(instances[measured])])
