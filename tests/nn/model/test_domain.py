"""Tissue like that of the training is not strange; other colors, other tissue and no tissue are."""

import json
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import pixnet_sd as ps
from pixnet_sd._raster.picture import Picture
from pixnet_sd.nn.model.domain import (
    PATCHES,
    SIDE_PX,
    StainDomain,
    describe_all,
    describe_patches,
    learn_domain,
    read_patches,
    sample_places,
)
from pixnet_sd.nn.slides import Slide
from pixnet_sd.tl._slides import ReadOptions, find_measured_sections, read_slide


def slide_of(seed: int, size_px: int = 768) -> Slide:
    section = ps.datasets.toy(seed=seed, size_px=size_px, bins_um=16)
    genes = list(section["bins_16um_counts"].var_names[:1])
    (found,) = find_measured_sections([section], "he", None, "bins_16um_counts")
    return read_slide(found, "toy", ReadOptions(None, genes, 0.5, None, False))


@pytest.fixture(scope="module")
def slides() -> list[Slide]:
    return [slide_of(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def known(slides: list[Slide]) -> StainDomain:
    return known_of(slides[:2])


def known_of(slides: list[Slide]) -> StainDomain:
    found = learn_domain(slides)
    assert found is not None
    return found


def share(known: StainDomain, slide: Slide, pixels: np.ndarray | None = None) -> float:
    picture = slide.picture if pixels is None else Picture(da.from_array(pixels, chunks=(3, 256, 256)))
    return known.outlier_share(read_patches(picture, sample_places(slide)))


def test_another_section_of_the_same_kind_is_not_strange(slides: list[Slide], known: StainDomain) -> None:
    assert share(known, slides[2]) < 0.2


def test_of_the_training_itself_one_per_cent_is_strange(slides: list[Slide], known: StainDomain) -> None:
    assert np.mean([share(known, slide) for slide in slides[:2]]) == pytest.approx(0.01, abs=0.01)


@pytest.mark.parametrize("fault", ["gray", "exchanged", "inverted", "noise"])
def test_other_colors_are_strange(slides: list[Slide], known: StainDomain, fault: str) -> None:
    pixels = slides[2].picture.data.compute()
    faulty = {
        "gray": np.repeat(pixels.mean(0, keepdims=True).astype(np.uint8), 3, axis=0),
        "exchanged": pixels[::-1].copy(),
        "inverted": 255 - pixels,
        "noise": np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8),
    }
    assert share(known, slides[2], faulty[fault]) > 0.9


def test_glass_says_nothing(slides: list[Slide], known: StainDomain) -> None:
    assert share(known, slides[2], np.full((3, 768, 768), 240, np.uint8)) == 0


def test_a_patch_is_told_by_known_numbers() -> None:
    half = np.zeros((3, 8, 8), np.float32)
    half[:, :, 4:] = 1.0
    means, spreads, (near, far) = np.split(describe_patches(half), [3, 6])
    np.testing.assert_allclose(means, 0.5)
    np.testing.assert_allclose(np.exp(spreads), 0.501, rtol=1e-6)
    assert np.exp(near) == pytest.approx(1 / 7 + 1e-3)  # of seven pairs in a row one differs
    assert np.exp(far) == pytest.approx(1 + 1e-3)


def test_patches_come_from_all_over_a_slide(slides: list[Slide]) -> None:
    centers = sample_places(slides[0])
    assert len(centers) == min(PATCHES, len(slides[0].measured[0].shapes))
    assert np.ptp(centers, axis=0) == pytest.approx(np.ptp(slides[0].measured[0].shapes.centroid, axis=0), rel=0.1)
    assert next(iter(read_patches(slides[0].picture, centers))).shape == (3, SIDE_PX, SIDE_PX)


def test_one_flat_slide_has_an_appearance_too(slides: list[Slide]) -> None:
    flat = replace(slides[0], picture=Picture(da.full((3, 768, 768), 200, dtype=np.uint8, chunks=256)))
    known = known_of([flat])
    assert share(known, flat) < 0.02
    assert share(known, slides[0]) == 1


def test_a_corner_of_a_slide_says_nothing_of_what_is_usual() -> None:
    assert learn_domain([slide_of(0, size_px=256)]) is None


def test_it_is_the_same_after_json(slides: list[Slide], known: StainDomain) -> None:
    again = StainDomain.from_json(json.loads(json.dumps(known.to_json())))
    assert again == known


def test_the_bundled_model_knows_breast_cancer_from_what_it_never_saw(
    real_data: Path, slides: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXNET_SD_DATA_DIR", str(real_data))
    model = ps.Model.load("default")
    known = model.stain_domain
    assert known is not None
    section = ps.datasets.her2st("C3")
    (found,) = find_measured_sections([section], "he", None, "spots_counts")
    reading = ReadOptions(None, ["KRT19"], model.mpp, None, False)
    assert share(known, read_slide(found, "C3", reading)) < 0.1
    assert share(known, slides[0]) > 0.9
    assert describe_all(read_patches(slides[0].picture, sample_places(slides[0])[:4])).shape == (4, len(known.mean))
