"""A picture holds the pixels of its box, in their place, and no more of them than can be shown."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import build, drawing, images, levels, maps
from pixnet_sd._sdata.drawing import Box

IDENTITY = build.make_transformations({"global": np.eye(3)})


def ramp(side: int) -> np.ndarray:
    """Channel 0 is x, channel 1 is y, at pixel centers."""
    y, x = np.indices((side, side)) + 0.5
    return np.stack([x, y]).astype(np.float32)


def image_of(data: np.ndarray | da.Array, pyramid: bool = False) -> images.Image:
    element = build.make_image(data, [str(c) for c in range(len(data))], IDENTITY, pyramid=pyramid)
    return images.read_image(SpatialData.init_from_elements({"r": element}), "r")


@given(st.floats(0, 60), st.floats(0, 60), st.floats(5, 60), st.floats(3, 200), st.sampled_from([0.0, 0.3, 2.0]))
def test_pixels_lie_where_their_values_say(x: float, y: float, size: float, width_px: float, angle: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    corners = turn @ Box(x, y, x + size, y + size).corners
    box = Box(*corners[:2].min(axis=1), *corners[:2].max(axis=1))
    picture = drawing.read_picture(image_of(ramp(128)), [0, 1], turn, box, width_px)
    rows, columns = np.indices(picture.data.shape[1:]) + 0.5
    places = np.einsum("ab,byx->ayx", picture.to_image, np.stack([columns, rows, np.ones_like(rows)]))
    values = np.einsum("ab,byx->ayx", turn[:2, :2], picture.data)
    step = np.hypot(*picture.to_image[:2, 0])
    inner = (slice(None), slice(0, -1), slice(0, -1))  # a last pixel may reach over the raster's edge
    assert np.abs(values - places[:2])[inner].max(initial=0) <= step / 2 + 1e-3


@pytest.mark.parametrize("width_px", [10, 33, 64, 100, 500])
@pytest.mark.parametrize("pyramid", [True, False])
def test_resolution_is_enough_and_less_than_needed_twice(width_px: int, pyramid: bool) -> None:
    picture = drawing.read_picture(
        image_of(ramp(1100), pyramid=pyramid), [0], np.eye(3), Box(100, 0, 1000, 900), width_px
    )
    assert width_px <= picture.data.shape[2] <= 2 * width_px + 2


def test_only_the_chunks_of_the_box_are_read() -> None:
    touched = []

    def note(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        touched.append(tuple(block_info[0]["chunk-location"][1:]))  # type: ignore[index]
        return block

    lazy = da.zeros((1, 400, 400), chunks=(1, 100, 100)).map_blocks(note, meta=np.empty((0, 0, 0)))
    level = images.Level(lazy, image_of(np.zeros((1, 400, 400))).grid)
    drawing.read_picture(images.Image("r", ("0",), (level,)), [0], np.eye(3), Box(110, 10, 190, 90), 80)
    assert set(touched) == {(0, 1)}


def test_the_coarse_level_is_what_is_read() -> None:
    fine = image_of(np.zeros((1, 1024, 1024)), pyramid=True)
    marked = images.Image("r", ("0",), (fine.levels[0], images.Level(fine.levels[1].data + 1, fine.levels[1].grid)))
    whole = Box(0, 0, 1024, 1024)
    assert drawing.read_picture(marked, [0], np.eye(3), whole, 512).data.min() == 1
    assert drawing.read_picture(marked, [0], np.eye(3), whole, 513).data.max() == 0


def test_means_leave_out_what_is_missing() -> None:
    data = np.array([[[1, np.nan, np.nan], [3, 5, np.nan], [7, 7, np.nan]]])
    np.testing.assert_array_equal(levels.block_means(data, 2)[0], [[3, np.nan], [7, np.nan]])


@given(st.integers(0, 1000))
def test_thinning_never_exceeds_the_factor(factor: int) -> None:
    stride, block = drawing.split_factor(factor)
    assert stride * block <= max(1, factor) < 2 * stride * block + 1 + stride


def test_loadings_commute_with_thinning() -> None:
    random = np.random.default_rng(0)
    programs, matrix = random.random((3, 64, 64)).astype(np.float32), random.random((3, 5))
    genes = pd.DataFrame(index=pd.Index(list("abcde")))
    sdata = build.make_section(
        {
            "m": build.make_image(programs, ["p0", "p1", "p2"], IDENTITY),
            "m_loadings": build.make_loadings(matrix, ["p0", "p1", "p2"], genes, "m"),
            "g": build.make_image(np.einsum("kg,kyx->gyx", matrix, programs), list("abcde"), IDENTITY),
        },
        {},
        {},
    )
    box, chosen = Box(0, 0, 64, 64), ["d", "a"]
    factorised, plain = (
        drawing.map_picture(sdata, maps.read_map(sdata, key, chosen), "m", box, 16).data for key in ("m", "g")
    )
    assert factorised.shape == (2, 16, 16)
    np.testing.assert_allclose(factorised, plain, rtol=1e-5)


def test_a_map_beside_the_box_is_an_error() -> None:
    with pytest.raises(PixnetValueError, match="no pixels in the box"):
        drawing.read_picture(image_of(ramp(8)), [0], np.eye(3), Box(20, 20, 30, 30), 10)


def test_shares_do_not_depend_on_density_nor_on_how_genes_are_stored() -> None:
    random = np.random.default_rng(0)
    programs, loadings = random.uniform(0.5, 1, (2, 8, 8)).astype(np.float32), random.uniform(0, 1, (2, 5))
    density = random.uniform(0.5, 2, (8, 8)).astype(np.float32)
    genes = np.tensordot(loadings, programs, axes=(0, 0)).astype(np.float32)
    box, names = Box(0, 0, 8, 8), pd.Index(list("ABCDE"))
    found = [
        shares_of({"m": values}, "m", ["B", "D"], box, matrix, names)
        for values, matrix in ((programs, loadings), (genes, None), (genes * density, None))
    ]
    expected = np.log1p(1e4 * genes[[1, 3]] / genes.sum(axis=0))
    for one in found:
        np.testing.assert_allclose(one, expected, rtol=1e-5)


def test_pixels_with_hardly_any_counts_have_no_share() -> None:
    values = np.ones((3, 4, 4), np.float32)
    values[:, 0, :3] = [0, 1e-3, np.nan]
    found = shares_of({"m": values}, "m", ["A"], Box(0, 0, 4, 4), None, pd.Index(list("ABC")))[0]
    assert np.isnan(found).sum() == 3 and np.isnan(found[0, :3]).all()


def shares_of(
    rasters: dict[str, np.ndarray], key: str, genes: list[str], box: Box, matrix: np.ndarray | None, names: pd.Index
) -> np.ndarray:
    channels = list(names) if matrix is None else [f"p{k}" for k in range(len(matrix))]
    elements = {key: build.make_image(rasters[key], channels, IDENTITY)}
    if matrix is not None:
        elements[f"{key}_loadings"] = build.make_loadings(matrix, channels, pd.DataFrame(index=names), key)
    sdata = SpatialData.init_from_elements(elements)
    return drawing.share_picture(sdata, maps.read_map(sdata, key, unit=maps.RATE), genes, key, box, 8).data
