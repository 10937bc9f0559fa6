"""What is said before a prediction: that tissue is strange, that windows may be seen, which genes to rely on."""

import logging

import numpy as np
import pytest
import spatialdata as sd
from hardening.slides import predict, tiny_model
from hardening.slides import section as section_of_squares
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetWarning
from pixnet_sd._sdata import build
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet


@pytest.fixture(scope="module")
def model() -> Model:
    return ps.tl.train(
        ps.datasets.toy(seed=1, size_px=768, bins_um=16),
        table_key="bins_16um_counts",
        method="ridge",
        name="pink",
        tissue="toy",
        progress=False,
    )


def exchanged(section: SpatialData) -> SpatialData:
    """With blue for red, though its channels are called r, g, b."""
    systems = build.make_transformations({"global": np.eye(3), "micrometers": np.diag([0.5, 0.5, 1.0])})
    image = build.make_image(section["he"].values[::-1].copy(), ["r", "g", "b"], systems)
    return build.make_section({"he": image, "bins_16um": section["bins_16um"]}, {}, {"he": 0.5})


@pytest.fixture(scope="module")
def section() -> SpatialData:
    return ps.datasets.toy(seed=2, size_px=512, bins_um=16)


def test_a_map_of_strange_tissue_comes_with_a_warning(model: Model, section: SpatialData) -> None:
    other = exchanged(section)
    with pytest.warns(PixnetWarning) as told:
        ps.tl.predict(other, model=model, progress=False)
    assert len(told) == 1
    assert all(word in str(told[0].message) for word in ("'he'", "'pink'", "toy", "pp.mpp", "channels"))
    assert "he_programs" in other.images


def test_so_does_a_table_without_a_map(model: Model, section: SpatialData) -> None:
    with pytest.warns(PixnetWarning, match="look like none"):
        ps.tl.predict_shapes(exchanged(section), "bins_16um", model=model, progress=False)


def test_familiar_tissue_gets_none(model: Model, section: SpatialData) -> None:
    ps.tl.predict(section, "he", model=model, progress=False, inplace=False)


def test_much_glass_around_familiar_tissue_is_no_reason(model: Model, section: SpatialData) -> None:
    """Whether or not anybody has marked the tissue."""
    pixels = np.pad(section["he"].values, [(0, 0), (600, 600), (600, 600)], constant_values=240)
    systems = build.make_transformations({"global": np.eye(3), "micrometers": np.diag([0.5, 0.5, 1.0])})
    wide = build.make_section({"he": build.make_image(pixels, ["r", "g", "b"], systems)}, {}, {"he": 0.5})
    ps.tl.predict(wide, model=model, progress=False, inplace=False)


def test_a_model_that_does_not_know_says_nothing(model: Model, section: SpatialData) -> None:
    unaware = Model(model.network.members, model.genes, model.card)
    ps.tl.predict(exchanged(section), model=unaware, progress=False, inplace=False)


def test_encoders_with_windows_tell_of_their_seams(section: SpatialData, caplog: pytest.LogCaptureFixture) -> None:
    config = NetworkConfig(
        encoder="resnet10t",
        window_px=64,
        decoder="pixel",
        widths=(4,),
        programs=2,
        stain=False,
        context_um=(),
        mpp=0.5,
        stride=4,
        fine=True,
        levels=(0, 1, 2, 3),
    )
    windowed = Model([PixNet(config, 2, encoder_weights=None)], ["A", "B"], Card("windowed"))
    logging.getLogger("pixnet_sd").addHandler(caplog.handler)
    ps.tl.predict(section, "he", model=windowed, progress=False, inplace=False)
    logging.getLogger("pixnet_sd").removeHandler(caplog.handler)
    assert "seams: across the windows of 'resnet10t' the map changes" in caplog.text


def test_genes_tell_whether_they_can_be_relied_on(model: Model, section: SpatialData) -> None:
    table = ps.tl.predict_shapes(section, "bins_16um", image_key="he", model=model, progress=False, inplace=False)
    np.testing.assert_array_equal(table.var["reliable"], table.var["score"] >= 0.2)
    assert 0 < table.var["reliable"].sum() < table.n_vars


def test_a_crop_is_told_that_pixels_near_its_edges_see_less(caplog: pytest.LogCaptureFixture) -> None:
    whole, model = section_of_squares(), tiny_model()
    corner = {"min_coordinate": [16, 16], "max_coordinate": [48, 48], "target_coordinate_system": "global"}
    for sdata, told in ((whole, False), (sd.bounding_box_query(whole, axes=("x", "y"), **corner), True)):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="pixnet_sd"):
            predict(sdata, "he", model=model, inplace=False)
        assert (f"within {model.network.margin * 0.5:.0f} µm of a cut" in caplog.text) is told
