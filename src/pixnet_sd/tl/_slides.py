"""Read sections for training: a picture at the model's µm per pixel, shapes in its pixels, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError, warn
from pixnet_sd._metrics.alignment import Raster
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import alignment, counts, images, units
from pixnet_sd._sdata.elements import Keys, MeasuredKeys, SectionKeys, find_sections
from pixnet_sd._sdata.shapes import read_shapes
from pixnet_sd._zonal.shapes import Shapes, from_circles
from pixnet_sd.nn.slides import LEAST_SHAPES, MeasuredSet, Slide
from pixnet_sd.tl._prediction.plan import check_resolution

# Circles on glass: how many, their radius, and how far they are from tissue, whose blur and debris are around it.
GLASS_CIRCLES, GLASS_RADIUS_UM, GLASS_CLEAR_UM = 64, 50.0, 100.0
# How far from measured shapes: features are computed around these anyway.
GLASS_REACH_UM = 200.0


@dataclass(frozen=True)
class FoundSection:
    """One section of an object, found but not read."""

    sdata: SpatialData
    keys: SectionKeys
    mpp: float
    """µm per pixel of its image."""


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading sections, the same for all."""

    layer: str | None
    genes: Sequence[str]
    mpp: float
    value_range: tuple[float, float] | None
    allow_upsample: bool
    glass: bool = False
    """Whether to add shapes on bare glass."""


def find_measured_sections(
    objects: Sequence[SpatialData], image_key: Keys, shapes_key: Keys, table_key: Keys
) -> list[FoundSection]:
    """Find the sections of all objects, which may hold several each."""
    return [
        FoundSection(sdata, keys, units.image_mpp(sdata, keys.image))
        for sdata in objects
        for keys in find_sections(sdata, image_key, shapes_key, table_key)
    ]


def read_slide(section: FoundSection, name: str, how: ReadOptions) -> Slide:
    """Read one section with the measured shapes of its tables."""
    sdata, key = section.sdata, section.keys.image
    check_resolution(key, section.mpp, how.mpp, allow_upsample=how.allow_upsample)
    picture, step = images.at_step(images.read_rgb(sdata, key, how.value_range), how.mpp / section.mpp)
    grid = PixelGrid(picture.grid.height, picture.grid.width, step)
    measured = [read_measured(sdata, key, grid, keys, how.layer, how.genes) for keys in section.keys.measured]
    slide = Slide(name, picture, section.mpp * step[0], tuple(measured))
    return add_glass(slide, section, how.value_range) if how.glass else slide


def add_glass(slide: Slide, section: FoundSection, value_range: tuple[float, float] | None) -> Slide:
    """Add circles on bare glass near the measured shapes; a slide without any stays as it is."""
    sdata, key = section.sdata, section.keys.image
    tissue = alignment.read_tissue_overview(sdata, key, value_range)
    to_picture = np.diag([*(section.mpp / slide.mpp,) * 2, 1.0]) @ np.linalg.inv(tissue.from_image)
    glass = choose_glass(tissue, to_picture, slide)
    return replace(slide, glass=glass) if len(glass) else slide


def choose_glass(tissue: Raster, to_picture: np.ndarray, slide: Slide) -> Shapes:
    """Draw circles, in pixels of the picture, from where the overview shows no tissue."""
    overview_mpp = slide.mpp * to_picture[0, 0]
    # An overview without any tissue has no distances to it.
    away_um = ndimage.distance_transform_edt(~tissue.values) * overview_mpp if tissue.values.any() else np.inf
    y, x = np.nonzero(~tissue.values & (away_um > GLASS_CLEAR_UM))
    centers = np.column_stack([x, y]) + 0.5
    bounds = np.concatenate([measured.shapes.bounds for measured in slide.measured])
    reach = GLASS_REACH_UM / slide.mpp
    placed = centers @ to_picture[:2, :2].T + to_picture[:2, 2]
    near = (placed > bounds[:, :2].min(axis=0) - reach) & (placed < bounds[:, 2:].max(axis=0) + reach)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(near.all(axis=1)))[:GLASS_CIRCLES]
    return from_circles(centers[rows], GLASS_RADIUS_UM / overview_mpp, to_picture)


def read_measured(
    sdata: SpatialData, image_key: str, grid: PixelGrid, keys: MeasuredKeys, layer: str | None, genes: Sequence[str]
) -> MeasuredSet:
    """Read the shapes that a table annotates, if they are within the picture, with their counts."""
    shapes_key, table_key = keys.shapes, keys.table
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
