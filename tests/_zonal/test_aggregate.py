"""Aggregation: laws of integration, exactextract as the oracle, and the same answer however the raster is cut."""

import tracemalloc

import dask.array as da
import numba
import numpy as np
import pytest
import shapely
from precision import assert_close
from shapely import Point, Polygon

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.grid import Window, make_tiles
from pixnet_sd._zonal.aggregate import Accumulator, aggregate, memory_bytes
from pixnet_sd._zonal.blocks import plan_blocks
from pixnet_sd._zonal.coverage import coverage
from pixnet_sd._zonal.shapes import Shapes, from_circles, from_polygons

SAME = np.eye(3)
TURNED = np.array([[1.732, -0.5, 20.0], [1.0, 0.866, -9.0], [0.0, 0.0, 1.0]])
EVERY = ["sum", "mean", "std", "min", "max", "median", "quantile"]
HEIGHT, WIDTH = 83, 101
RASTER_WINDOW = Window(0, 0, HEIGHT, WIDTH)


def polygons(*geometries, matrix=SAME) -> Shapes:
    return from_polygons(np.array(geometries, object), matrix)


def outlines(n=60, seed=0):
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    reach = rng.uniform(1, 9, (n, 1)) * (1 + 0.3 * rng.uniform(-1, 1, (n, 20)))
    center = rng.uniform(-3, 100, (n, 1, 2))
    return shapely.polygons(center + np.stack([reach * np.cos(angle), reach * np.sin(angle)], -1))


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    tissue = Polygon([(1, 1), (99, 5), (90, 80), (4, 70)], [[(20, 20), (60, 25), (40, 60)]])
    return polygons(*outlines(), tissue, shapely.box(-5, 30, 20.5, 44.25), None, shapely.box(200, 200, 210, 210))


@pytest.fixture(scope="module")
def raster() -> np.ndarray:
    return np.random.default_rng(1).normal(5, 2, (5, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def holed(raster) -> np.ndarray:
    """NaN in a strip of all channels, and in more of one."""
    holed = raster.copy()
    holed[:, 30:45] = np.nan
    holed[3, :, 60:] = np.nan
    return holed


def same(a, b):
    assert_close(a.values, b.values, ulp=4096)
    assert_close(a.covered, b.covered, ulp=4096)


def test_half_pixel_square_by_hand():
    raster, square = np.arange(9.0).reshape(1, 3, 3), polygons(shapely.box(0.5, 0.5, 2.5, 2.5))
    by_hand = {"sum": 16.0, "mean": 4.0, "min": 0.0, "max": 8.0, "std": (20 / 4) ** 0.5, "median": 4.0}
    for statistic, value in by_hand.items():
        pooled = aggregate(raster, square, statistic)
        assert pooled.values.tolist() == [[pytest.approx(value, rel=1e-14)]]
        assert pooled.covered.tolist() == [[4.0]]


def test_a_constant_field_gives_the_constant(shapes):
    constant = np.full((1, HEIGHT, WIDTH), 7.25)
    for statistic in ("mean", "min", "max", "median", "quantile"):
        pooled = aggregate(constant, shapes, statistic)
        np.testing.assert_allclose(pooled.values[pooled.covered > 0], 7.25, rtol=1e-14)
    np.testing.assert_allclose(aggregate(constant, shapes, "std").values[pooled.covered > 0], 0, atol=1e-6)


@pytest.mark.parametrize("matrix", [SAME, TURNED])
def test_a_linear_ramp_gives_its_value_at_the_centroid(matrix):
    """Exactly for a shape of whole pixels, since the raster is a staircase; nearly for any of many pixels."""
    y, x = np.mgrid[:400, :400] + 0.5
    raster = np.stack([x, y, 3 * x - 2 * y])
    outline = polygons(Polygon([(50, 60), (150, 40), (130, 140), (90, 100)]), matrix=matrix)
    pooled = aggregate(raster, outline, "mean").values[0]
    cx, cy = outline.centroid[0]
    np.testing.assert_allclose(pooled, [cx, cy, 3 * cx - 2 * cy], rtol=2e-3)
    block = polygons(shapely.union(shapely.box(3, 4, 40, 20), shapely.box(10, 20, 22, 60)))
    np.testing.assert_allclose(aggregate(raster, block, "mean").values[0, :2], block.centroid[0], rtol=1e-13)


def test_the_parts_of_a_tessellation_sum_to_the_raster(raster):
    points = shapely.multipoints(np.random.default_rng(4).uniform(0, 80, (100, 2)))
    parts = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(-1, -1, 150, 150)))
    total = aggregate(raster, polygons(*parts)).values
    np.testing.assert_allclose(np.nansum(total, 0), raster.sum((1, 2), dtype=float), rtol=1e-12)


def test_large_bins_are_the_sum_of_their_small_ones(raster):
    x, y = (corner.ravel() for corner in np.meshgrid(np.arange(0, 80, 2.0), np.arange(0, 80, 2.0)))
    small = aggregate(raster, polygons(*shapely.box(x, y, x + 2, y + 2))).values
    x, y = (corner.ravel() for corner in np.meshgrid(np.arange(0, 80, 16.0), np.arange(0, 80, 16.0)))
    large = aggregate(raster, polygons(*shapely.box(x, y, x + 16, y + 16))).values
    np.testing.assert_allclose(small.reshape(5, 8, 5, 8, 5).sum((1, 3)).reshape(25, 5), large, rtol=1e-12)


def test_coarser_pixels_of_a_constant_rate_hold_the_same_total():
    """A raster of stride 8 seen through Scale(8): the same shapes, 64 times fewer pixels, each 64 times the area."""
    fine, coarse = np.full((1, 160, 160), 2.0), np.full((1, 20, 20), 2.0)
    cells = outlines(20)
    a = aggregate(fine, polygons(*cells)).values
    b = aggregate(coarse, polygons(*cells, matrix=np.diag([1 / 8, 1 / 8, 1]))).values
    np.testing.assert_allclose(a, 64 * b, rtol=1e-9)


@pytest.mark.parametrize("statistic", EVERY)
def test_equals_exactextract(statistic, shapes, holed):
    exactextract = pytest.importorskip("exactextract")
    operation = {"std": "stdev", "quantile": "quantile(q=0.3)"}.get(statistic, statistic)
    cells = outlines()
    upside_down = shapely.transform(cells, lambda xy: xy * [1, -1] + [0, HEIGHT])
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(cell)} for cell in upside_down]
    pooled = aggregate(holed, shapes, statistic, quantile=0.3).values[: len(cells)]
    for channel, values in zip(holed, pooled.T, strict=True):
        source = exactextract.raster.NumPyRasterSource(channel.astype(float), 0, 0, WIDTH, HEIGHT)
        found = [feature["properties"] for feature in exactextract.exact_extract(source, features, [operation])]
        expected = np.array([next(iter(row.values())) for row in found], float)
        if statistic == "sum":
            expected[np.isnan(values)] = np.nan  # its sum of nothing is 0
        # exactextract keeps coverage in single precision.
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("statistic", EVERY)
def test_does_not_depend_on_chunks(statistic, shapes, holed):
    whole = aggregate(holed, shapes, statistic)
    for chunks, limit in (
        ((5, 83, 101), 2**28),
        ((2, 20, 33), 2**28),
        ((1, 7, 50), 4000),
        (((3, 2), (80, 3), (1, 99, 1)), 1),
    ):
        lazy = da.from_array(holed, chunks=chunks)
        same(aggregate(lazy, shapes, statistic, block_limit=limit), whole)
    same(aggregate(holed.astype(">f4"), shapes, statistic, block_limit=1), whole)


@pytest.mark.parametrize("statistic", EVERY)
def test_blocks_in_any_order_and_merged_accumulators_agree(statistic, shapes, holed):
    whole, order = aggregate(holed, shapes, statistic), np.random.default_rng(0)
    cores = [tile.core for tile in make_tiles(HEIGHT, WIDTH, size=19)]
    halves = Accumulator(shapes, 5, statistic), Accumulator(shapes, 5, statistic)
    for k in order.permutation(len(cores)):
        halves[k % 2].add(cores[k], holed[:, *cores[k].slices])
    halves[0].merge(halves[1])
    same(halves[0].result(), whole)


@pytest.mark.parametrize("statistic", EVERY)
def test_same_bytes_with_any_number_of_threads(statistic, shapes, holed, monkeypatch):
    monkeypatch.setattr("pixnet_sd._zonal.threads.PARTS_PER_THREAD", 16)
    several = aggregate(holed, shapes, statistic)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    assert aggregate(holed, shapes, statistic).values.tobytes() == several.values.tobytes()


def test_reusable_weights_give_the_same_sums(shapes, raster):
    for some in (shapes, from_circles(np.random.default_rng(0).uniform(0, 90, (30, 2)), 6.5, TURNED)):
        weights = coverage(some, RASTER_WINDOW)
        pooled = aggregate(raster, some)
        assert_close(np.nan_to_num(pooled.values), weights @ raster.reshape(5, -1).T.astype(float), ulp=4096)
        assert_close(pooled.covered[:, 0], weights.sum(1), ulp=4096)


def test_nan_is_left_out_of_values_and_area(shapes, raster, holed):
    weights, flat = coverage(shapes, RASTER_WINDOW), holed.reshape(5, -1).astype(float)
    valid, pooled = ~np.isnan(flat), aggregate(holed, shapes)
    expected = weights @ np.nan_to_num(flat).T
    np.testing.assert_allclose(pooled.covered, weights @ valid.T.astype(float), atol=1e-10)
    assert_close(pooled.values, np.where(pooled.covered > 0, expected, np.nan), ulp=4096)
    assert aggregate(raster, shapes).covered.shape == (len(shapes), 1)
    assert aggregate(holed[:3], shapes).covered.shape == (len(shapes), 1)


@pytest.mark.parametrize("statistic", EVERY)
def test_what_nothing_covers_is_nan(statistic, raster):
    hidden = raster.copy()
    hidden[:, 10:20, 10:20] = np.nan
    inside, outside, empty = shapely.box(11.3, 11.3, 18.8, 17.9), shapely.box(-9, 500, -1, 600), None
    pooled = aggregate(hidden, polygons(Point(15, 15).buffer(4.4), inside, outside, empty), statistic)
    assert np.isnan(pooled.values).all()
    assert (pooled.covered == 0).all()


def test_spread_survives_a_large_offset(shapes, raster):
    plain = aggregate(raster.astype(float), shapes, "std").values
    lifted = aggregate(raster.astype(float) + 1e8, shapes, "std").values
    banded = aggregate(raster.astype(">f8") + 1e8, shapes, "std", block_limit=1).values
    np.testing.assert_allclose(banded, plain, rtol=1e-6)
    np.testing.assert_allclose(lifted, plain, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "u2", ">u2", "i2", "i4", "u4", "i8", "f2", "f4", "f8", ">f8"])
def test_every_dtype_is_read_without_loss(dtype, shapes):
    raster = np.random.default_rng(3).integers(0, 2 if dtype == "bool" else 100, (2, HEIGHT, WIDTH)).astype(dtype)
    same(aggregate(raster, shapes), aggregate(raster.astype(float), shapes))


def test_views_and_other_memory_orders_are_read_as_they_are(shapes, raster):
    pixel_major = np.ascontiguousarray(raster.transpose(1, 2, 0)).transpose(2, 0, 1)
    same(aggregate(pixel_major, shapes, "max"), aggregate(raster, shapes, "max"))
    same(aggregate(raster[::2, ::-1, ::3], shapes), aggregate(raster[::2, ::-1, ::3].copy(), shapes))


def test_each_chunk_is_read_once_and_only_where_shapes_are():
    reads = []

    def chunk(block_info=None):
        location = block_info[None]["chunk-location"]
        reads.append(location)
        return np.ones(block_info[None]["chunk-shape"], np.float32)

    raster = da.map_blocks(
        chunk, chunks=((3,) * 4, (500,) * 4, (700,) * 4), dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    )
    shapes = polygons(shapely.box(900, 300, 1500, 1600), Point(100, 100).buffer(50))
    pooled = aggregate(raster, shapes, block_limit=9 * 2**20)
    np.testing.assert_allclose(pooled.values[0], 600 * 1300, rtol=1e-12)
    assert len(reads) == len(set(reads))
    touched = {(0, 0), *((y, x) for y in range(4) for x in (1, 2))}
    assert set(reads) == {(c, y, x) for c in range(4) for y, x in touched}


def test_blocks_stay_below_the_limit_and_keep_chunks_whole():
    raster = da.zeros((70, 3000, 2500), chunks=(16, 256, 256), dtype=np.float32)
    blocks = [block for group in plan_blocks(raster, 2**25) for block in group]
    sizes = [(b.channels.stop - b.channels.start) * b.window.area * 4 for b in blocks]
    assert max(sizes) <= 2**25
    assert sum(sizes) == raster.nbytes
    assert all(b.window.y0 % 256 == 0 == b.window.x0 % 256 and b.channels.start % 16 == 0 for b in blocks)


def test_memory_stays_below_the_stated_formula():
    raster = da.random.random((8, 3000, 3000), chunks=(8, 500, 500)).astype(np.float32)
    cells = polygons(*outlines(500))
    aggregate(raster[:, :600, :600], cells)
    tracemalloc.start()
    aggregate(raster, cells, block_limit=2**22)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Chunks are drawn as float64 before they become float32, which is this raster's own need: twice a block.
    assert peak < memory_bytes(500, 8, block_limit=2**22) + 3 * 2**23
    assert peak < raster.nbytes / 4


def test_one_pixel_is_a_raster(shapes):
    pooled = aggregate(np.full((1, 1, 1), 3.0), polygons(shapely.box(0.25, 0.5, 9, 9)), "sum")
    assert pooled.values.tolist() == [[3 * 0.375]]


def test_no_shapes_is_an_empty_result(raster):
    for statistic in EVERY:
        assert aggregate(raster, polygons(), statistic).values.shape == (0, 5)


def test_mistakes_are_named(shapes, raster):
    with pytest.raises(PixnetValueError, match="Unknown statistic 'mode'; choose one of sum"):
        aggregate(raster, shapes, "mode")
    with pytest.raises(PixnetValueError, match=r"between 0 and 1; got 1.5"):
        aggregate(raster, shapes, "quantile", quantile=1.5)
    with pytest.raises(PixnetValueError, match=r"axes .c, y, x."):
        aggregate(raster[0], shapes)
    with pytest.raises(PixnetTypeError, match="complex"):
        aggregate(raster.astype(complex), shapes)
    with pytest.raises(PixnetValueError, match=r"needs \(5, 4, 4\); got \(4, 4, 4\)"):
        Accumulator(shapes, 5).add(Window(0, 0, 4, 4), raster[:4, :4, :4])
    with pytest.raises(PixnetValueError, match="same work"):
        Accumulator(shapes, 5).merge(Accumulator(shapes, 5, "mean"))
