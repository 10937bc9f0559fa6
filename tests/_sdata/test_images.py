"""Pixels come out as they are, with their place; anything but RGB of a known range is refused."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Image2DModel

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import build, images

IDENTITY = build.make_transformations({"global": np.eye(3)})


def holding(data: np.ndarray, channels: str | list[str] = "rgb", **options: object) -> SpatialData:
    return build.make_section({"he": build.make_image(data, list(channels), IDENTITY, **options)}, {}, {})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 801, 1001)).astype(np.uint8)


def test_single_scale_is_read_lazily_as_it_is(noise: np.ndarray) -> None:
    image = images.read_image(holding(noise), "he")
    assert isinstance(image.data, da.Array)
    assert image.channels == ("r", "g", "b")
    np.testing.assert_array_equal(image.data.compute(), noise)


def test_levels_of_an_odd_pyramid_have_whole_steps(noise: np.ndarray) -> None:
    image = images.read_image(holding(noise, pyramid=True), "he")
    assert [level.grid.step for level in image.levels] == [(1.0, 1.0), (2.0, 2.0)]
    assert image.level_at(1.9) is image.levels[0]
    assert image.level_at(2.0) is image.levels[1]
    assert image.level_at(0.1) is image.levels[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(65, 300), st.integers(65, 300), st.sampled_from([[2], [2, 2], [2, 2, 2], [4], [4, 2], [3]]))
def test_a_pixel_of_any_level_is_the_mean_of_what_its_place_covers(height: int, width: int, factors: list[int]) -> None:
    """Of ramps along x and y, whose means say where a pixel lies."""
    y, x = np.mgrid[:height, :width] + 0.5
    element = Image2DModel.parse(np.stack([x, y, x + y]), dims="cyx", c_coords=list("rgb"), scale_factors=factors)
    image = images.read_image(build.make_section({"he": element}, {}, {}), "he")
    assert len(image.levels) == len(factors) + 1
    for level in image.levels:
        rows, columns = np.indices(level.grid.shape) + 0.5
        places = level.grid.to_source @ np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
        found = level.data.compute()[:2].reshape(2, -1)
        np.testing.assert_allclose(found, places[:2], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("fine", "coarse", "place"), [(800, 200, (4, 0)), (803, 200, (4, 3)), (801, 201, (4, 0)), (800, 300, (8 / 3, 0))]
)
def test_a_level_is_exact_only_where_its_size_leaves_no_doubt(
    fine: int, coarse: int, place: tuple[float, float]
) -> None:
    assert images.pyramid_place(fine, coarse) == place
    sides = ((fine, fine), (coarse, coarse))
    levels = tuple(images.Level(da.zeros((3, *side)), images.level_grid(sides[0], side)) for side in sides)
    image = images.Image("he", ("r", "g", "b"), levels)
    assert image.is_exact(levels[0])
    assert (image.level_at(8, exact=True) is levels[1]) == (fine == 800 and coarse == 200)
    assert image.level_at(8) is levels[1]


def test_an_overview_covers_an_odd_image_from_edge_to_edge() -> None:
    y, x = np.mgrid[:203, :205] + 0.5
    element = Image2DModel.parse(np.stack([x, y, x]), dims="cyx", c_coords=list("rgb"), scale_factors=[2, 2])
    level = images.read_overview_level(images.read_image(build.make_section({"he": element}, {}, {}), "he"), 9)
    (sx, sy), (ox, oy) = level.grid.step, level.grid.origin
    assert ox <= 0 and oy <= 0 and ox + sx * level.grid.width >= 205 and oy + sy * level.grid.height >= 203
    inner = level.data.compute()[0, 1:-1, 1:-1]
    np.testing.assert_allclose(inner[0], ox + sx * (np.arange(1, level.grid.width - 1) + 0.5), atol=1e-9)


def test_overview_is_the_block_mean_and_keeps_the_edge() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8), (3, 10, 20))
    level = images.read_overview_level(images.read_image(holding(ramp), "he"), 4.5)
    assert level.grid.shape == (3, 5) and level.grid.step == (4.0, 4.0)
    np.testing.assert_array_equal(level.data.compute()[0, 0], [2, 6, 10, 14, 18])


def test_opaque_alpha_is_dropped_and_clear_glass_is_white() -> None:
    rgba = np.zeros((4, 2, 2), np.uint8)
    rgba[3] = [[255, 0], [51, 255]]
    rgb = images.read_rgb(holding(rgba, "rgba"), "he").data.compute()
    np.testing.assert_allclose(rgb[0], [[0.0, 1.0], [0.8, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("data", "channels", "message"),
    [
        (np.zeros((1, 4, 4), np.uint8), ["gray"], "has 1 channels"),
        (np.zeros((3, 4, 4), np.uint8), "bgr", "order r, g, b"),
        (np.zeros((3, 4, 4), np.uint16), "rgb", "black and white are unknown"),
        (np.zeros((3, 4, 4), np.float32), "rgb", "black and white are unknown"),
    ],
)
def test_what_is_not_plain_rgb_is_refused(data: np.ndarray, channels: list[str], message: str) -> None:
    with pytest.raises(PixnetValueError, match=message):
        images.read_rgb(holding(data, channels), "he")


def test_a_stated_range_is_used() -> None:
    data = np.full((3, 4, 4), 13107, np.uint16)
    rgb = images.read_rgb(holding(data), "he", (0, 65535)).data.compute()
    assert_close(rgb, np.full_like(rgb, 0.2), ulp=4)
