"""Tiles partition an image whatever its size; windows and grids obey their own arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import PixelGrid, Window, make_tiles, round_up

sides = st.integers(1, 150)


@given(sides, sides, st.integers(1, 6), st.sampled_from([1, 2, 8]), st.integers(0, 20))
def test_cores_partition_and_reads_contain_them(height: int, width: int, factor: int, stride: int, margin: int) -> None:
    times_kept = np.zeros((height, width), int)
    reads = set()
    for tile in make_tiles(height, width, size=factor * stride, stride=stride, margin=margin):
        times_kept[tile.core.slices] += 1
        assert tile.read.y0 % stride == tile.read.x0 % stride == 0
        assert tile.core.y0 % stride == tile.core.x0 % stride == 0
        assert tile.core.grow(margin).clip(tile.read) == tile.core.grow(margin)
        reads.add(tile.read.shape)
    assert (times_kept == 1).all()
    assert len(reads) == 1


def test_image_smaller_than_a_tile_is_one_small_tile() -> None:
    (tile,) = make_tiles(1, 1, size=512, stride=4, margin=3)
    assert tile.core == Window(0, 0, 1, 1)
    assert tile.read == Window(-4, -4, 8, 8)


def test_tile_size_off_the_stride_is_refused_with_the_next_right_one() -> None:
    with pytest.raises(PixnetValueError, match="Use 104"):
        list(make_tiles(10, 10, size=100, stride=8))


def test_clip_of_windows_apart_is_empty() -> None:
    assert Window(0, 0, 4, 4).clip(Window(10, 10, 12, 12)).area == 0


def test_slices_outside_the_raster_are_refused() -> None:
    with pytest.raises(PixnetValueError, match="outside"):
        _ = Window(-1, 0, 4, 4).slices


@given(st.integers(-50, 50), st.integers(1, 50), st.integers(1, 9))
def test_coarsened_window_covers_the_fine_one(start: int, length: int, stride: int) -> None:
    coarse = Window(start, start, start + length, start + length).coarsened(stride)
    assert coarse.y0 * stride <= start < (coarse.y0 + 1) * stride
    assert (coarse.y1 - 1) * stride < start + length <= coarse.y1 * stride


def test_grid_matrices_are_inverse_and_coarsening_keeps_the_corner() -> None:
    grid = PixelGrid(801, 1001, step=(2.0, 3.0), origin=(5.0, -7.0))
    np.testing.assert_allclose(grid.to_source @ grid.from_source, np.eye(3), atol=1e-12)
    coarse = grid.coarsened(8)
    assert coarse.shape == (101, 126)
    np.testing.assert_array_equal(coarse.to_source @ [0, 0, 1], grid.to_source @ [0, 0, 1])
    np.testing.assert_array_equal(coarse.to_source @ [1, 1, 1], grid.to_source @ [8, 8, 1])


@pytest.mark.parametrize("bad", [{"height": 0, "width": 4}, {"height": 4, "width": 4, "step": (0.0, 1.0)}])
def test_impossible_grids_are_refused(bad: dict) -> None:
    with pytest.raises(PixnetValueError, match="positive step"):
        PixelGrid(**bad)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_round_up(number: int, multiple: int) -> None:
    assert 0 <= round_up(number, multiple) - number < multiple
    assert round_up(number, multiple) % multiple == 0
