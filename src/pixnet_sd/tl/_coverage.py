"""The weights behind every aggregation."""

from __future__ import annotations

import scipy.sparse as sp
from spatialdata import SpatialData

from pixnet_sd._sdata import elements, images, maps
from pixnet_sd._sdata.labels import read_regions
from pixnet_sd._zonal.coverage import coverage as coverage_weights
from pixnet_sd.tl._tables import check_overlap


def coverage(
    sdata: SpatialData,
    shapes_key: str | None = None,
    raster_key: str | None = None,
    *,
    coordinate_system: str | None = None,
) -> sp.csr_array:
    """How much of each pixel each shape covers, exactly, as a sparse matrix (shapes x pixels).

    Row ``i`` is shape ``i`` of the element, or its ``i``-th label in ascending order; column ``y * width + x`` is a
    pixel of the raster's finest level. Each entry is the covered share of that pixel, so a row sums to the shape's area
    in pixels, and ``weights @ values`` sums a flattened channel over the shapes.

    Parameters
    ----------
    sdata
        The object that holds both.
    shapes_key
        Polygons, circles or labels; may be left out when there is one element.
    raster_key
        The raster. By default the only predicted map, or else the only image.
    coordinate_system
        The coordinate system in which the two lie over each other; only needed where several disagree.

    Returns
    -------
    A CSR matrix of float64.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> weights = ps.tl.coverage(sdata, "cells", "he")
    >>> weights.shape[1] == 256 * 256
    True
    """
    shapes = elements.find_regions_key(sdata, shapes_key)
    raster = maps.find_map(sdata, raster_key)
    grid = images.read_image(sdata, raster).grid
    placed = read_regions(sdata, shapes, raster, grid, coordinate_system)
    check_overlap(placed, grid, raster)
    return coverage_weights(placed.shapes, grid.window)
