"""Coverage: by hand, by law, and against exact intersections by shapely and by exactextract."""

import numba
import numpy as np
import pytest
import shapely
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Point, Polygon, affinity

from pixnet_sd._raster.grid import Window
from pixnet_sd._zonal import spans
from pixnet_sd._zonal.coverage import coverage
from pixnet_sd._zonal.polygon import PIECE_EDGES, matters
from pixnet_sd._zonal.shapes import Shapes, from_circles, from_polygons

SAME = np.eye(3)
HALF_TURNED = np.array([[0.866, -0.5, 4.0], [0.5, 0.866, -1.0], [0.0, 0.0, 1.0]])


def polygons(*geometries, matrix=SAME):
    return from_polygons(np.array(geometries, object), matrix)


def dense(shapes: Shapes, window: Window) -> np.ndarray:
    return coverage(shapes, window).toarray().reshape(-1, *window.shape)


def by_shapely(geometry, window: Window) -> np.ndarray:
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
    return shapely.area(shapely.intersection(shapely.box(x, y, x + 1, y + 1), geometry))


def repaired(geometry):
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def test_half_pixel_square_by_hand():
    inset = polygons(
        shapely.box(0.5, 0.5, 2.5, 2.5), Polygon([(0.5, 0.5), (1.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)])
    )
    expected = [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]
    np.testing.assert_array_equal(dense(inset, Window(0, 0, 3, 3)), [expected, expected])


def test_diamond_by_hand():
    diamond = polygons(Polygon([(1, 0), (2, 1), (1, 2), (0, 1)]))
    np.testing.assert_array_equal(dense(diamond, Window(0, 0, 2, 2)), np.full((1, 2, 2), 0.5))


def test_hole_by_hand():
    ring = polygons(Polygon([(0, 0), (3, 0), (3, 3), (0, 3)], [[(1, 1), (2, 1), (2, 2), (1, 2)]]))
    assert dense(ring, Window(0, 0, 3, 3)).tolist() == [[[1, 1, 1], [1, 0, 1], [1, 1, 1]]]
    assert coverage(ring, Window(0, 0, 3, 3)).nnz == 8


def test_edges_on_pixel_borders_touch_no_neighbor():
    block = Polygon([(2, 2), (5, 2), (5, 4), (5, 6), (2, 6), (2, 3)])
    assert coverage(polygons(block), Window(0, 0, 9, 9)).nnz == 12


def test_rounding_of_a_border_touches_no_neighbor():
    blunt = shapely.box(3 - 1e-12, 2, 7 + 2e-12, 5 + 1e-12)
    sharp = Polygon([(3, 2), (7 + 1e-12, 2), (7, 5), (5, 5 + 1e-12), (3, 5)])
    assert coverage(polygons(blunt, sharp), Window(0, 0, 9, 9)).nnz == 24


vertex = st.one_of(
    st.integers(-3, 15).map(float), st.floats(-3, 15, allow_subnormal=False), st.integers(-6, 30).map(lambda n: n / 2)
)
ring = st.lists(st.tuples(vertex, vertex), min_size=3, max_size=12)


@settings(max_examples=400)
@given(shell=ring, hole=st.none() | ring, other=st.none() | ring)
def test_any_polygon_equals_its_exact_intersections(shell, hole, other):
    """Self-crossing, collinear, doubled, slivers, holes partly outside, overlapping parts: all of them come up."""
    geometry = Polygon(shell, None if hole is None else [hole])
    geometry = geometry if other is None else MultiPolygon([geometry, Polygon(other)])
    try:
        valid, window = geometry if geometry.is_valid else repaired(geometry), Window(0, 0, 12, 11)
    except shapely.errors.GEOSException:
        reject()  # old releases, where denormals are flushed
    shapes = polygons(geometry)
    pixels = by_shapely(valid, window)
    # Old releases of GEOS lose their way on slivers: pixels must add up to what they are pixels of.
    inside = shapely.intersection(valid, shapely.box(window.x0, window.y0, window.x1, window.y1)).area
    assume(pixels.sum() == pytest.approx(inside, abs=1e-6))
    np.testing.assert_allclose(dense(shapes, window)[0], pixels, atol=1e-9)
    whole = coverage(shapes, Window(-4, -4, 17, 17)).sum()
    assert whole == pytest.approx(valid.area, rel=1e-9, abs=1e-12)


@pytest.fixture
def flushed_denormals():
    """As libraries that were compiled for fast arithmetic leave a process: the smallest numbers become 0."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("flushed_denormals")
@pytest.mark.parametrize("tiny", [2.3e-308, -2.3e-308, 5e-308])
def test_vertices_that_only_denormals_tell_apart(tiny):
    """Their difference is 0 then, and was divided by."""
    high = Polygon([(0, 1), (2, 0.5), (1, 1.1 * tiny), (0, tiny)])
    wide = Polygon([(1, 0), (0.5, 2), (tiny, 3), (-1.1 * tiny, 1)])
    for shape in (high, wide):
        found = coverage(polygons(shape), Window(-1, -1, 4, 4)).sum()
        assert found == pytest.approx(shape.area, abs=1e-9)


def wobbly(rng, n, size_px, radius_px, vertices=24):
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = radius_px * (1 + 0.4 * rng.uniform(-1, 1, (n, vertices)))
    center = rng.uniform(0, size_px, (n, 1, 2))
    return shapely.polygons(center + np.stack([reach * np.cos(angle), reach * np.sin(angle)], -1))


def test_thousands_of_cells_equal_exactextract():
    exactextract = pytest.importorskip("exactextract")
    cells = wobbly(np.random.default_rng(0), 2000, 100, 4)
    raster = exactextract.raster.NumPyRasterSource(np.zeros((100, 100)), 0, 0, 100, 100)
    upside_down = shapely.transform(cells, lambda xy: xy * [1, -1] + [0, 100])
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(cell)} for cell in upside_down]
    found = exactextract.exact_extract(raster, features, ["cell_id", "coverage"])
    expected = np.zeros((2000, 100 * 100))
    for row, feature in zip(expected, found, strict=True):
        row[feature["properties"]["cell_id"]] = feature["properties"]["coverage"]
    # exactextract keeps coverage in single precision.
    np.testing.assert_allclose(coverage(polygons(*cells), Window(0, 0, 100, 100)).toarray(), expected, atol=2e-7)


@pytest.mark.parametrize("size_px", [1e-5, 0.01, 0.3, 1.0, 40.0])
def test_weights_add_up_to_the_area_at_any_size_far_from_the_origin(size_px):
    triangle = affinity.translate(Polygon([(0, 0), (1, 0.3), (0.4, 1)]), 0.37, 0.61)
    shapes = polygons(triangle, matrix=np.array([[size_px, 0, 1000.0], [0, size_px, 3000.0], [0, 0, 1]]))
    total = coverage(shapes, Window(2990, 990, 3080, 1080)).sum()
    assert total == pytest.approx(shapes.area[0], rel=1e-9)


def test_slivers_keep_their_area():
    sliver = Polygon([(0.2, 0.3), (30.2, 20.3), (30.2, 20.3 + 1e-7), (0.2, 0.3 + 1e-7)])
    shapes = polygons(sliver)
    assert coverage(shapes, Window(0, 0, 40, 40)).sum() == pytest.approx(shapes.area[0], rel=1e-7)


@pytest.mark.parametrize("matrix", [SAME, HALF_TURNED, np.array([[3.0, 1.0, 0.0], [0.2, -0.5, 20.0], [0, 0, 1]])])
def test_ellipses_equal_fine_polygons(matrix):
    rng = np.random.default_rng(1)
    centers, radius = rng.uniform(2, 20, (40, 2)), rng.uniform(0.1, 8, 40)
    window, fine = Window(-5, -5, 60, 90), Point(0, 0).buffer(1, quad_segs=20_000)
    shapes = from_circles(centers, radius, matrix)
    found = dense(shapes, window)
    for k in (0, 7, 23):
        outline = shapely.transform(
            fine, lambda xy, k=k: (xy * radius[k] + centers[k]) @ matrix[:2, :2].T + matrix[:2, 2]
        )
        np.testing.assert_allclose(found[k], by_shapely(outline, window), atol=1e-6)


def test_ellipses_of_any_size_add_up_to_their_area():
    radius = np.array([1e-6, 1e-3, 0.2, 0.5, 1.0, 7.0, 90.0])
    shapes = from_circles(np.full((7, 2), 100.0) + 0.5 * (radius[:, None] == 0.5), radius, SAME)
    np.testing.assert_allclose(coverage(shapes, Window(0, 0, 200, 200)).sum(1), np.pi * radius**2, rtol=1e-9)


def test_quarter_disc_by_hand():
    disc = from_circles(np.array([[1.0, 1.0]]), 1.0, SAME)
    np.testing.assert_allclose(dense(disc, Window(0, 0, 2, 2)), np.full((1, 2, 2), np.pi / 4), rtol=1e-14)


def mixed():
    cells = wobbly(np.random.default_rng(2), 50, 60, 6)
    boxes = shapely.box(*np.random.default_rng(3).uniform(0, 50, (2, 30)), 55, 57)
    holed = Polygon([(3, 3), (50, 10), (55, 50), (5, 45)], [[(10, 10), (30, 20), (20, 40)]])
    return [
        polygons(*cells, *boxes, holed, None),
        from_circles(np.full((9, 2), 30.0), np.arange(1.0, 37, 4), HALF_TURNED),
    ]


@pytest.mark.parametrize("shapes", mixed(), ids=["polygons", "ellipses"])
def test_windows_add_up(shapes):
    whole, (cut_y, cut_x) = dense(shapes, Window(0, 0, 60, 60)), (23, 41)
    for y0, y1 in ((0, cut_y), (cut_y, 60)):
        for x0, x1 in ((0, cut_x), (cut_x, 60)):
            np.testing.assert_allclose(dense(shapes, Window(y0, x0, y1, x1)), whole[:, y0:y1, x0:x1], atol=1e-12)


@pytest.mark.parametrize("shapes", mixed(), ids=["polygons", "ellipses"])
def test_weights_are_sorted_shares(shapes):
    weights = coverage(shapes, Window(-3, -5, 60, 64))
    assert weights.data.min() > 0
    assert weights.data.max() <= 1
    assert all(
        (np.diff(weights.indices[a:b]) > 0).all() for a, b in zip(weights.indptr, weights.indptr[1:], strict=False)
    )


@pytest.mark.parametrize("shapes", mixed(), ids=["polygons", "ellipses"])
def test_same_bytes_with_any_number_of_threads(shapes, monkeypatch):
    several = coverage(shapes, Window(0, 0, 60, 60))
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    one = coverage(shapes, Window(0, 0, 60, 60))
    for name in ("data", "indices", "indptr"):
        assert getattr(one, name).tobytes() == getattr(several, name).tobytes()


def test_strips_of_a_large_shape_join_without_a_seam():
    side = 3 * int(spans.BATCH_PX**0.5)
    large = affinity.translate(
        affinity.scale(Point(0, 0).buffer(1, quad_segs=64), side / 2, side / 2), side / 2, side / 2
    )
    weights = coverage(polygons(large), Window(0, 0, side, side))
    assert weights.sum() == pytest.approx(large.area, rel=1e-12)
    assert (weights.data == 1).mean() > 0.9


def star(vertices, size_px):
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = 0.4 * size_px * (1 + 0.1 * np.sin(7 * angle) + 0.002 * np.sin(vertices / 3 * angle))
    return Polygon(size_px / 2 + radius[:, None] * np.c_[np.cos(angle), np.sin(angle)])


def sieve(size_px):
    centers = np.random.default_rng(6).uniform(5, size_px - 5, (200, 2))
    holes = shapely.union_all(shapely.buffer(shapely.points(centers), 2))
    return shapely.box(0, 0, size_px, size_px).difference(holes)


@pytest.mark.parametrize("outline", [star(10_000, 200), star(2 * PIECE_EDGES, 200), sieve(200)])
def test_outlines_of_many_vertices_cover_the_same_in_windows_as_whole(outline):
    shapes, size_px = polygons(outline), 200
    whole = dense(shapes, Window(0, 0, size_px, size_px))[0]
    assert whole.sum() == pytest.approx(outline.area, rel=1e-12)
    for y0, x0 in np.ndindex(4, 4):
        window = Window(50 * y0, 50 * x0, 50 * y0 + 50, 50 * x0 + 50)
        part = dense(shapes, window)[0]
        # Running sums begin at each window's left border, so they round differently: by the ulps of some dozen steps.
        np.testing.assert_allclose(part, whole[window.slices], rtol=0, atol=1e-12)


def test_each_ring_is_cut_into_pieces_that_bound_all_its_edges():
    rings = polygons(star(1000, 200), sieve(100), None, shapely.Point(30, 30).buffer(9)).rings
    at, extent = rings.pieces
    for r in range(len(rings.sign)):
        ring = rings.xy[rings.start[r] : rings.start[r + 1]]
        firsts = range(0, len(ring) - 1, PIECE_EDGES)
        pieces = [ring[k : k + PIECE_EDGES + 1] for k in firsts]
        bounds = [(piece[:, 1].min(), piece[:, 1].max(), piece[:, 0].min()) for piece in pieces]
        np.testing.assert_array_equal(extent[at[r] : at[r + 1]], bounds)


@pytest.mark.parametrize("strip_px", [2, 10])
def test_each_edge_is_visited_in_about_one_strip_of_rows(strip_px):
    vertices, size_px = 100_000, 1000
    rings = polygons(star(vertices, size_px)).rings
    extent, strips = rings.pieces[1], range(0, size_px, strip_px)
    visited = sum(matters.py_func(extent, p, (y, 0, y + strip_px, size_px)) for y in strips for p in range(len(extent)))
    assert visited * PIECE_EDGES <= 4 * vertices + len(strips) * 2 * PIECE_EDGES


def test_a_tessellation_covers_each_pixel_once():
    points = shapely.multipoints(np.random.default_rng(4).uniform(0, 30, (200, 2)))
    parts = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(-1, -1, 31, 31)))
    assert coverage(polygons(*parts), Window(0, 0, 30, 30)).sum(0) == pytest.approx(np.ones(900), rel=1e-12)


def test_nothing_in_the_window_is_an_empty_row():
    shapes = polygons(shapely.box(50, 50, 60, 60), None, shapely.box(1, 1, 2, 2))
    weights = coverage(shapes, Window(0, 0, 10, 10))
    assert weights.shape == (3, 100)
    assert np.diff(weights.indptr).tolist() == [0, 0, 1]
    assert coverage(shapes, Window(5, 5, 5, 9)).shape == (3, 0)
