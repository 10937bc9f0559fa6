"""Shapes: whatever geometry comes in, its area, bounds and centroid in pixels are those that shapely computes."""

import numpy as np
import pytest
import shapely
from shapely import MultiPolygon, Point, Polygon, affinity

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._zonal.shapes import ELLIPSE, EMPTY, POLYGON, RECTANGLE, from_circles, from_polygons

SAME = np.eye(3)
ROTATED = np.array([[0.8, -0.6, 5.0], [0.6, 0.8, 7.0], [0.0, 0.0, 1.0]])
SHEARED = np.array([[2.0, 0.5, 3.0], [0.25, 1.5, -4.0], [0.0, 0.0, 1.0]])
FLIPPED = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 40.0], [0.0, 0.0, 1.0]])
SWAPPED = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 2.0], [0.0, 0.0, 1.0]])


def square(x, y, side):
    return shapely.box(x, y, x + side, y + side)


def transformed(geometries, matrix):
    return shapely.transform(np.array(geometries, object), lambda xy: xy @ matrix[:2, :2].T + matrix[:2, 2])


VALID = [
    Polygon([(0, 0), (5, 1), (4, 6)]),
    Polygon([(0, 0), (0, 4), (4, 4), (4, 0)], [[(1, 1), (2, 1), (2, 2)]]),
    MultiPolygon([square(0, 0, 1), Polygon([(5, 5), (9, 5), (7, 8)], [[(6.5, 5.5), (7.5, 5.5), (7, 6)]])]),
    square(2, 3, 4),
    MultiPolygon([square(1, 1, 2)]),
    Point(5, 5).buffer(3),
]


@pytest.mark.parametrize("matrix", [SAME, ROTATED, SHEARED, FLIPPED, SWAPPED])
def test_measures_are_those_of_shapely_under_any_affine(matrix):
    shapes, expected = from_polygons(np.array(VALID, object), matrix), transformed(VALID, matrix)
    np.testing.assert_allclose(shapes.area, shapely.area(expected), rtol=1e-12)
    np.testing.assert_allclose(shapes.bounds, shapely.bounds(expected), rtol=1e-12)
    np.testing.assert_allclose(shapes.centroid, shapely.get_coordinates(shapely.centroid(expected)), rtol=1e-12)
    assert not shapes.repaired.size


@pytest.mark.parametrize(
    ("matrix", "kind"), [(SAME, RECTANGLE), (FLIPPED, RECTANGLE), (SWAPPED, RECTANGLE), (ROTATED, POLYGON)]
)
def test_squares_stay_rectangles_only_along_the_axes(matrix, kind):
    assert from_polygons(np.array([square(1, 2, 3)], object), matrix).kind.tolist() == [kind]


def test_four_corners_that_are_not_their_bounds_are_polygons():
    others = [Polygon([(0, 0), (2, 0), (2, 2), (0, 1)]), Polygon([(0, 1), (1, 0), (2, 1), (1, 2)])]
    assert from_polygons(np.array(others, object), SAME).kind.tolist() == [POLYGON, POLYGON]


REPAIRED = {
    "bow tie keeps both lobes": (Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), 2.0),
    "overlapping parts count once": (MultiPolygon([square(0, 0, 2), square(1, 1, 2)]), 7.0),
    "nested parts count once": (MultiPolygon([square(0, 0, 4), square(1, 1, 2)]), 16.0),
    "a part twice counts once": (MultiPolygon([square(0, 0, 4), square(0, 0, 4)]), 16.0),
    "a ring wound twice": (Polygon([(0, 0), (4, 0), (4, 4), (0, 4)] * 2), 16.0),
    "a ring over itself": (Polygon([(0, 0), (6, 0), (6, 6), (2, 6), (2, 2), (4, 2), (4, 4), (0, 4)]), 32.0),
    "a spike": (Polygon([(0, 0), (4, 0), (4, 4), (4, 8), (4, 4), (0, 4)]), 16.0),
    "a hole partly outside": (Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(3, 1), (6, 1), (6, 3), (3, 3)]]), 14.0),
    "no area": (Polygon([(0, 0), (1, 1), (2, 2)]), 0.0),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_invalid_geometries_are_repaired_and_named(case):
    geometry, area = REPAIRED[case]
    shapes = from_polygons(np.array([VALID[0], geometry], object), SAME)
    assert shapes.area[1] == pytest.approx(area, rel=1e-12)
    assert shapes.repaired.tolist() == [1]


def test_rings_that_no_quick_proof_covers_are_not_called_invalid():
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    comb = Polygon(
        [(x, y) for k in range(6) for x, y in ((2 * k, 0), (2 * k, 5), (2 * k + 1, 5), (2 * k + 1, 0))]
        + [(11, -1), (0, -1)]
    )
    star = Polygon(np.c_[np.cos(angle), np.sin(angle)] * (5 + 3 * np.cos(40 * angle))[:, None])
    doubled = Polygon([(0, 0), (0, 0), (3, 0), (3, 3), (3, 3), (1, 1)])
    shapes = from_polygons(np.array([comb, star, doubled], object), SAME)
    assert not shapes.repaired.size
    np.testing.assert_allclose(shapes.area, [comb.area, star.area, doubled.area], rtol=1e-12)


def test_missing_and_empty_geometries_are_empty_shapes():
    shapes = from_polygons(np.array([None, Polygon(), square(0, 0, 1), MultiPolygon(), VALID[0]], object), SAME)
    assert shapes.kind.tolist() == [EMPTY, EMPTY, RECTANGLE, EMPTY, POLYGON]
    assert shapes.area.tolist() == [0, 0, 1, 0, VALID[0].area]
    assert np.isnan(shapes.bounds[[0, 1, 3]]).all()
    assert np.isnan(shapes.centroid[[0, 1, 3]]).all()
    assert not shapes.repaired.size
    assert len(from_polygons(np.array([], object), SAME)) == 0


def test_take_reorders_everything():
    geometries = np.array([*VALID, None, REPAIRED["a spike"][0]], object)
    order = np.array([7, 1, 6, 3, 1, 0])
    taken, expected = from_polygons(geometries, SHEARED).take(order), from_polygons(geometries[order], SHEARED)
    for field in ("kind", "bounds", "area", "centroid", "repaired"):
        np.testing.assert_array_equal(getattr(taken, field), getattr(expected, field))


@pytest.mark.parametrize("matrix", [SAME, ROTATED, SHEARED, FLIPPED])
def test_circles_become_ellipses(matrix):
    centers, radius = np.array([[3.0, 4.0], [10.0, -2.0]]), np.array([1.0, 2.5])
    shapes = from_circles(centers, radius, matrix)
    fine = [affinity.scale(Point(0, 0).buffer(1, quad_segs=5000), r, r, origin=(0, 0)) for r in radius]
    fine = transformed([affinity.translate(p, *xy) for p, xy in zip(fine, centers, strict=True)], matrix)
    assert shapes.kind.tolist() == [ELLIPSE, ELLIPSE]
    np.testing.assert_allclose(shapes.area, np.pi * radius**2 * abs(np.linalg.det(matrix)), rtol=1e-12)
    np.testing.assert_allclose(shapes.bounds, shapely.bounds(fine), atol=1e-5)
    np.testing.assert_allclose(shapes.centroid, centers @ matrix[:2, :2].T + matrix[:2, 2], rtol=1e-12)


@pytest.mark.parametrize("radius", [np.nan, 0.0, -1.0, np.inf])
def test_impossible_radii_are_named(radius):
    with pytest.raises(PixnetValueError, match="1 of 3 do not .row 1"):
        from_circles(np.zeros((3, 2)), np.array([1.0, radius, 2.0]), SAME)


def test_coordinates_that_are_not_finite_are_named():
    bad = shapely.transform(np.array(VALID[:2], object), lambda xy: np.where(xy == 5, np.inf, xy))
    with pytest.raises(PixnetValueError, match=r"1 have others .rows 1"):
        from_polygons(np.array([VALID[0], bad[0]], object), SAME)


def test_points_and_lines_are_refused_by_type():
    with pytest.raises(PixnetTypeError, match="row 1: Point"):
        from_polygons(np.array([VALID[0], Point(0, 0)], object), SAME)


@pytest.mark.parametrize(
    "matrix",
    [np.diag([1.0, 0.0, 1.0]), np.full((3, 3), np.nan), np.eye(2), np.array([[1, 2, 0], [2, 4, 0], [0, 0, 1.0]])],
)
def test_matrices_that_lose_area_are_refused(matrix):
    with pytest.raises(PixnetValueError, match="matrix to pixels"):
        from_polygons(np.array(VALID, object), matrix)
