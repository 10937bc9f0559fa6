"""Nuclei are found by position alone: what a tile gives is what the whole picture gives."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixnet_sd._raster import nuclei
from pixnet_sd._raster.basins import order_heights, reach_of, split_mask
from pixnet_sd._raster.cells import CellOptions, Detector, find_cells
from pixnet_sd._raster.contours import trace_labels
from pixnet_sd._raster.grid import make_tiles
from pixnet_sd._raster.picture import Picture
from pixnet_sd._raster.stain import compose_rgb

BY_STAIN = Detector(nuclei.detect_nuclei, nuclei.REACH, nuclei.STRIDE)
OPTIONS = CellOptions(smallest=20.0, farthest=24)


def blobs(seed: int, side: int = 520, count: int = 400) -> np.ndarray:
    """Discs of hematoxylin of all sizes, many of which touch, on uneven eosin."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    h = random.uniform(0, 0.03, (side, side))
    for y, x, radius in zip(*random.uniform(0, side, (2, count)), random.uniform(4, 11, count), strict=True):
        h = np.maximum(h, random.uniform(0.3, 0.9) * ((rows - y) ** 2 + (columns - x) ** 2 < radius**2))
    return compose_rgb(h, random.uniform(0.1, 0.4, (side, side)))


def cells_of(picture: Picture, options: CellOptions, size: int) -> dict[tuple[int, int], bytes]:
    """The outline of each object by its seed, over all tiles."""
    margin = options.margin(BY_STAIN)
    found: dict[tuple[int, int], bytes] = {}
    for tile in make_tiles(*picture.grid.shape, size=size, stride=nuclei.STRIDE, margin=margin):
        cells = find_cells(picture, tile, BY_STAIN, options)
        for polygon, (y, x) in zip(cells.polygons, cells.seeds_yx.tolist(), strict=True):
            assert (y, x) not in found
            found[y, x] = shapely.to_wkb(polygon)
    return found


@pytest.fixture(scope="module")
def picture() -> Picture:
    return Picture(da.from_array(blobs(0), chunks=(3, 128, 96)))


@pytest.mark.parametrize("expand", [0, 12])
@pytest.mark.parametrize("size", [136, 264])
def test_the_result_is_the_same_for_any_tile_size(picture: Picture, size: int, expand: int) -> None:
    options = replace(OPTIONS, expand=expand)
    whole = cells_of(picture, options, 520)
    assert len(whole) > 150
    assert cells_of(picture, options, size) == whole


@pytest.mark.parametrize("expand", [0, 12])
def test_outlines_are_valid_and_never_overlap(picture: Picture, expand: int) -> None:
    found = shapely.from_wkb(list(cells_of(picture, replace(OPTIONS, expand=expand), 520).values()))
    assert shapely.is_valid(found).all()
    assert (shapely.get_type_id(found) == shapely.GeometryType.POLYGON).all()
    assert shapely.area(shapely.union_all(found)) == pytest.approx(shapely.area(found).sum(), rel=1e-12)


def test_cells_contain_their_nuclei_and_grow_no_farther_than_asked(picture: Picture) -> None:
    found, grown = (cells_of(picture, replace(OPTIONS, expand=expand), 520) for expand in (0, 12))
    assert found.keys() == grown.keys()
    for seed, outline in found.items():
        nucleus, cell = shapely.from_wkb([outline, grown[seed]])
        assert shapely.covers(cell, shapely.Polygon(nucleus.exterior).buffer(-0.8))
        assert shapely.covers(nucleus.buffer(12 + 1.5), cell)


@given(arrays(np.float32, (12, 15), elements=st.floats(0, 3, width=32)), arrays(np.bool_, (12, 15)))
def test_each_pixel_goes_where_its_highest_neighbor_goes(height: np.ndarray, mask: np.ndarray) -> None:
    """That is why a watershed may be cut into tiles."""
    labels = split_mask(mask, height, (3, 5)).labels
    order = np.pad(np.where(mask, order_heights(height, (3, 5)), -1), 1, constant_values=-1)
    assert ((labels > 0) == mask).all()
    for y, x in np.argwhere(mask):
        around = order[y : y + 3, x : x + 3]
        dy, dx = np.unravel_index(around.argmax(), (3, 3))
        assert labels[y, x] == labels[y + dy - 1, x + dx - 1]


def test_neighbors_are_never_equally_high() -> None:
    order = order_heights(np.zeros((40, 40), np.float32), (1000, 2040))
    assert len(np.unique(order)) == order.size


def test_objects_are_told_by_their_reach() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:8, 4:25] = True
    height = np.zeros(mask.shape, np.float32)
    height[6, 10] = 1.0
    basins = split_mask(mask, height, (0, 0))
    own = basins.labels[6, 10]
    assert basins.seeds_yx[own - 1].tolist() == [6, 10]
    assert reach_of(basins)[own - 1] <= 14


def test_a_square_is_traced_with_its_corners_cut() -> None:
    labels = np.zeros((8, 9), np.int32)
    labels[2:5, 3:7] = 1
    (square,) = trace_labels(labels, np.array([1]), (10, 20))
    assert square.bounds == (13, 22, 17, 25)
    assert square.area == 12 - 4 * 0.125


def test_neighbors_share_a_line_and_holes_stay() -> None:
    labels = np.ones((7, 7), np.int32)
    labels[3, 3] = 2
    outer, inner = trace_labels(labels, np.array([1, 2]))
    assert len(outer.interiors) == 1
    assert shapely.area(shapely.intersection(outer, inner)) == 0
    assert shapely.union(outer, inner).area == outer.area + inner.area == 49 - 4 * 0.125


def test_of_an_object_in_pieces_the_largest_is_traced() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[1, 1] = labels[2:6, 2:6] = 1
    (found,) = trace_labels(labels, np.array([1]))
    assert found.bounds == (2, 2, 6, 6)


def test_nuclei_are_found_where_they_are() -> None:
    """Discs far apart: one object each, of their size."""
    rows, columns = np.mgrid[:240, :240]
    near = (rows % 60 - 30) ** 2 + (columns % 60 - 30) ** 2 < 8**2
    image = compose_rgb(0.6 * near, np.full(near.shape, 0.3))
    basins = split_mask(*nuclei.detect_nuclei(image), (0, 0))
    areas = np.bincount(basins.labels.ravel())[1:]
    assert len(areas) == 16
    np.testing.assert_allclose(np.sqrt(areas / np.pi), 8, atol=1)
    assert (np.abs(basins.seeds_yx % 60 - 30) <= 2).all()


def test_glass_and_eosin_alone_hold_no_nuclei() -> None:
    random = np.random.default_rng(0)
    eosin = compose_rgb(np.zeros((128, 128)), random.uniform(0.3, 0.6, (128, 128)))
    assert not nuclei.detect_nuclei(eosin)[0].any()
    assert not nuclei.detect_nuclei(np.full((3, 128, 128), 245, np.uint8))[0].any()
