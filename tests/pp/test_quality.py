"""`pp.quality` finds artifacts that were made, and only these, tile by tile."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError, PixnetWarning
from pixnet_sd._raster.stain import from_density, optical_density
from pixnet_sd._sdata import affine, build
from pixnet_sd.datasets._synthetic.histology import Histology

MPP, SIDE_PX, TILES = 0.5, 512, 4
SYSTEMS = build.make_transformations({"global": np.eye(3)})


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Pixels of a synthetic section, with tissue everywhere."""
    return np.asarray(ps.datasets.toy(size_px=SIDE_PX)["he"])


def section(pixels: np.ndarray, mpp: float = MPP) -> SpatialData:
    labels = build.make_labels(np.ones(pixels.shape[1:], np.uint8), SYSTEMS)
    image = build.make_image(pixels, "rgb", SYSTEMS)
    return build.make_section({"he": image, "he_tissue": labels}, {}, {"he": mpp})


def blur(sigma_px: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.stack([ndimage.gaussian_filter(channel, sigma_px) for channel in pixels])


def cover(*ink: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: from_density(optical_density(pixels) + np.array(ink)[:, None, None])


def fold(pixels: np.ndarray) -> np.ndarray:
    """Lay tissue of the section's mean density over it, three times."""
    density = optical_density(pixels)
    return from_density(density + 3 * density.mean(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(
    ("spoil", "artifact"),
    [
        (lambda pixels: pixels, "none"),
        (blur(4), "blurred"),
        (blur(8), "blurred"),
        (cover(1.5, 0.7, 0.2), "pen"),
        (cover(0.9, 0.35, 0.7), "pen"),
        (cover(0.1, 0.9, 0.95), "pen"),
        (cover(1.5, 1.5, 1.5), "gray"),
        (fold, "fold"),
    ],
    ids=["none", "blur 4 px", "blur 8 px", "blue", "green", "red", "black", "fold"],
)
def test_each_artifact_is_found_where_it_was_made(tissue: np.ndarray, spoil: Callable, artifact: str) -> None:
    left_quarter = np.arange(SIDE_PX) < SIDE_PX // TILES
    sdata = section(np.where(left_quarter, spoil(tissue), tissue))
    ps.pp.quality(sdata, progress=False)
    table = sdata["he_quality_tiles"]
    made = table.obs["array_col"] == 0
    assert set(table.obs["artifact"][made]) == {artifact}
    assert set(table.obs["artifact"][table.obs["array_col"] > 1]) == {"none"}
    if artifact != "none":
        assert table[made, artifact].X.min() > 0.5
        assert table[table.obs["array_col"] > 1, artifact].X.max() < 0.1


def test_elements_belong_together_and_lie_on_the_image(tissue: np.ndarray) -> None:
    half = np.arange(SIDE_PX) < SIDE_PX // 2
    sdata = section(np.where(half, blur(6)(tissue), tissue))
    ps.pp.quality(sdata, progress=False)
    table, tiles, clean = sdata["he_quality_tiles"], sdata["he_quality"], sdata["he_quality_clean"]
    assert tiles.values.ravel().tolist() == table.obs["instance_id"].tolist() == list(range(1, TILES**2 + 1))
    assert (clean.values.repeat(32, axis=0).repeat(32, axis=1)[:, ~half] == 1).all()
    assert not clean.values[:, : clean.shape[1] // 2].any()
    for labels, side in ((tiles, 128), (clean, 32)):
        matrix = affine.to_matrix(affine.get_transformations(labels)["global"])
        np.testing.assert_allclose(matrix, np.diag([side, side, 1]))


def test_clean_tissue_is_tissue_for_other_calls(tissue: np.ndarray) -> None:
    sdata = section(np.where(np.arange(SIDE_PX) < SIDE_PX // 2, blur(6)(tissue), tissue))
    ps.pp.quality(sdata, progress=False)
    ps.pp.bins(sdata, 64, tissue_key="he_quality_clean")
    assert set(sdata["bins_64um"]["array_col"]) == {2, 3}


def test_the_result_does_not_depend_on_how_the_image_is_read(
    tissue: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ps.pp.quality(section(tissue[:, :400, :488]), tile_um=48, inplace=False, progress=False)
    monkeypatch.setattr("pixnet_sd.pp._quality.READ_PX", 64)
    pieces = ps.pp.quality(section(tissue[:, :400, :488]), tile_um=48, inplace=False, progress=False)
    np.testing.assert_array_equal(whole.X, pieces.X)
    np.testing.assert_array_equal(whole.obs["sharpness"], pieces.obs["sharpness"])


def test_sharpness_is_that_of_micrometers_and_not_of_pixels() -> None:
    """Twice as many pixels per µm do not change what is there to see at 1 µm."""
    found = {}
    for mpp in (0.25, 0.5):
        slide = Histology(round(128 / mpp), round(128 / mpp), mpp)
        pixels = slide.image(slide.window)
        found[mpp] = ps.pp.quality(section(pixels, mpp), inplace=False, progress=False).obs["sharpness"].median()
    assert found[0.25] == pytest.approx(found[0.5], rel=0.1)


def test_tissue_is_found_where_it_is_not_marked(tissue: np.ndarray) -> None:
    sdata = section(tissue)
    del sdata["he_tissue"]
    ps.pp.quality(sdata, progress=False)
    assert "he_tissue" not in sdata.labels
    assert sdata["he_quality_tiles"].n_obs == TILES**2


def test_a_slide_that_is_mostly_spoiled_gives_a_warning(tissue: np.ndarray) -> None:
    with pytest.warns(PixnetWarning, match="100.0% blurred"):
        ps.pp.quality(section(blur(4)(tissue)), inplace=False, progress=False)


def test_errors_say_what_was_asked_and_what_to_do(tissue: np.ndarray) -> None:
    sdata = section(tissue)
    with pytest.raises(PixnetValueError, match="multiple of 16 µm"):
        ps.pp.quality(sdata, tile_um=50)
    with pytest.raises(PixnetKeyError, match="tissue_key='tissues' is not among the labels"):
        ps.pp.quality(sdata, tissue_key="tissues")
    with pytest.raises(PixnetValueError, match=r"has 2 µm per pixel; focus can be told up to 1\."):
        ps.pp.quality(section(tissue, 2.0))
    sdata["he_tissue"] = build.make_labels(np.zeros((SIDE_PX, SIDE_PX), np.uint8), SYSTEMS)
    with pytest.raises(PixnetValueError, match="No tissue"):
        ps.pp.quality(sdata, progress=False)
    sdata = section(tissue)
    ps.pp.quality(sdata, progress=False)
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        ps.pp.quality(sdata)
