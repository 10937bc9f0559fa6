"""Sums that are made equal to given ones."""

import dask.array as da
import numpy as np
import pytest
import shapely

from pixnet_sd._fields.proportional import match_sums
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.shapes import Shapes, from_circles, from_polygons

CENTERS = np.array([[10.3, 11.2], [31.7, 12.4], [20.1, 30.9]])
CIRCLES = from_circles(CENTERS, 7.3, np.eye(3))
SQUARES = from_polygons(
    np.array([shapely.box(x, y, x + 7.5, y + 7.5) for x in (3.2, 10.7, 18.2) for y in (5.1, 12.6)]), np.eye(3)
)


def raster(chunk: int = 16) -> da.Array:
    values = np.random.default_rng(0).gamma(2, 1, (2, 40, 45))
    return da.from_array(values, chunks=(2, chunk, chunk))


@pytest.mark.parametrize("shapes", [CIRCLES, SQUARES], ids=["apart", "side by side"])
def test_sums_are_those_asked_for(shapes: Shapes) -> None:
    sums = np.random.default_rng(1).integers(20, 400, (len(shapes), 2)).astype(float)
    found, off = match_sums(raster(), shapes, sums)
    assert off <= 1e-6
    np.testing.assert_allclose(aggregate(found, shapes, progress=False).values, sums, rtol=1e-6)


def test_a_shape_without_counts_becomes_empty_and_others_are_left_alone() -> None:
    sums = np.array([[0.0, 5.0], [10.0, 0.0], [3.0, 4.0]])
    found, _ = match_sums(raster(), CIRCLES, sums)
    np.testing.assert_allclose(aggregate(found, CIRCLES, progress=False).values, sums, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(found[:, 39:].compute(), raster()[:, 39:].compute())


def test_chunks_make_no_difference() -> None:
    sums = np.full((3, 2), 50.0)
    one, other = (match_sums(raster(chunk), CIRCLES, sums)[0].compute() for chunk in (7, 45))
    np.testing.assert_allclose(one, other, rtol=1e-9)
