"""Read sections for training: a picture at the model's µm per pixel, shapes in its pixels, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import counts, elements, images, units
from pixnet_sd._sdata.shapes import read_shapes
from pixnet_sd.nn.slides import LEAST_SHAPES, MeasuredSet, Slide
from pixnet_sd.tl._prediction.plan import check_resolution


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading sections, the same for all."""

    image_key: str | None
    table_keys: Sequence[str] | None
    layer: str | None
    genes: Sequence[str]
    mpp: float
    value_range: tuple[float, float] | None
    allow_upsample: bool


def read_slide(sdata: SpatialData, name: str, how: ReadOptions) -> Slide:
    """Read one section with the measured shapes of its tables."""
    key = elements.find_image_key(sdata, how.image_key)
    image_mpp = units.image_mpp(sdata, key)
    check_resolution(key, image_mpp, how.mpp, allow_upsample=how.allow_upsample)
    picture, step = images.at_step(images.read_rgb(sdata, key, how.value_range), how.mpp / image_mpp)
    grid = PixelGrid(picture.grid.height, picture.grid.width, step)
    asked: Sequence[str | None] = how.table_keys or [None]
    names = [elements.find_table_key(sdata, table) for table in asked]
    measured = [read_measured(sdata, key, grid, table, how.layer, how.genes) for table in names]
    return Slide(name, picture, image_mpp * step[0], tuple(measured))


def read_measured(
    sdata: SpatialData, image_key: str, grid: PixelGrid, table_key: str, layer: str | None, genes: Sequence[str]
) -> MeasuredSet:
    """Read the shapes that a table annotates, if they are within the picture, with their counts."""
    shapes_key = counts.annotated_shapes(sdata, table_key)
    found = counts.read_counts(sdata, table_key, shapes_key, layer=layer, genes=genes)
    shapes = read_shapes(sdata, shapes_key, image_key, grid).shapes.take(found.rows)
    x0, y0, x1, y1 = shapes.bounds.T
    whole = (x0 >= 0) & (y0 >= 0) & (x1 <= grid.width) & (y1 <= grid.height) & (shapes.area > 0)
    if whole.sum() < LEAST_SHAPES:
        raise PixnetValueError(
            f"Only {whole.sum()} of the {len(whole)} shapes of table {table_key!r} are entirely within image "
            f"{image_key!r}; at least {LEAST_SHAPES} are needed. Check the transformations with pl.shapes."
        )
    if not whole.all():
        warn(
            f"{(~whole).sum()} of the {len(whole)} shapes of table {table_key!r} extend beyond image {image_key!r} and "
            "are not trained on."
        )
    kept = whole.nonzero()[0]
    if not found.matrix[kept].sum():
        raise PixnetValueError(
            f"Table {table_key!r} has no counts of the {len(found.genes)} genes, e.g. {list(found.genes[:3])}, in its "
            f"{len(kept)} shapes on image {image_key!r}, with {found.totals[kept].sum():g} counts over all genes. "
            "Choose other genes, or check the layer with raw counts."
        )
    return MeasuredSet(shapes.take(kept), found.matrix[kept], found.totals[kept])
