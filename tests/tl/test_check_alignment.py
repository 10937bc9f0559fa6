"""The right place passes, a wrong one is flagged, and what cannot be known is said to be unknown."""

import re

import numpy as np
import pandas as pd
import pytest
from spatialdata import SpatialData, deepcopy
from spatialdata.transformations import Affine, get_transformation, remove_transformation, set_transformation

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._metrics.alignment import Raster, other_places
from pixnet_sd._sdata import build
from pixnet_sd.tl._check_alignment import places_on_tissue

SIDE = 512
WRONG: dict[str, list[list[float]]] = {
    "mirrored left to right": [[-1, 0, SIDE], [0, 1, 0], [0, 0, 1]],
    "mirrored top to bottom": [[1, 0, 0], [0, -1, SIDE], [0, 0, 1]],
    "with x and y swapped": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    "shifted by half": [[1, 0, SIDE / 2], [0, 1, 0], [0, 0, 1]],
    "shifted by a fifth": [[1, 0, 0], [0, 1, SIDE / 5], [0, 0, 1]],
    "half as large": [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]],
    "twice as large": [[2, 0, 0], [0, 2, 0], [0, 0, 1]],
}


def flagged(report: pd.DataFrame) -> list[str]:
    return report.index[report["verdict"] == "check"].tolist()


def misplace(sdata: SpatialData, key: str, matrix: list[list[float]]) -> None:
    """Only in pixels: the coordinate system in µm would contradict."""
    for system in set(get_transformation(sdata[key], get_all=True)) - {"global"}:
        remove_transformation(sdata[key], system)
    set_transformation(sdata[key], Affine(np.array(matrix), input_axes=("x", "y"), output_axes=("x", "y")))


@pytest.mark.parametrize("key", ["bins_8um", "cells", "spots"])
def test_the_right_place_passes(toy_section: SpatialData, key: str) -> None:
    assert not flagged(ps.tl.check_alignment(toy_section, key))


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_place_is_flagged(toy: SpatialData, what: str) -> None:
    misplace(toy, "bins_8um", WRONG[what])
    assert flagged(ps.tl.check_alignment(toy, "bins_8um"))


def test_the_finding_names_what_would_put_it_right(toy: SpatialData) -> None:
    misplace(toy, "bins_8um", WRONG["mirrored left to right"])
    report = ps.tl.check_alignment(toy, "bins_8um")
    assert flagged(report) == ["expression, against other places"]
    assert "mirrored left to right, it would explain 50" in report["finding"].iloc[3]


def test_places_that_put_shapes_on_glass_are_not_compared_by_expression() -> None:
    tissue = Raster(np.arange(100)[None, :].repeat(100, 0) < 50, np.eye(3))
    centers = np.random.default_rng(0).uniform((0, 0), (50, 100), (200, 2))
    kept = places_on_tissue(tissue, centers, other_places((100, 100), centers))
    assert [place.words for place in kept] == ["mirrored top to bottom"] + [
        f"with coordinates {factor:g} times as large" for factor in (0.1, 0.2, 0.5)
    ]


def test_without_counts_expression_is_not_checked(toy_section: SpatialData) -> None:
    line = ps.tl.check_alignment(toy_section, "cells").loc["expression, against other places"]
    assert line["verdict"] == "not checked"
    assert np.isnan(line["value"])
    with pytest.raises(PixnetKeyError, match="nothing"):
        ps.tl.check_alignment(toy_section, "cells", table_key="nothing")
    with pytest.raises(PixnetValueError, match="6 shapes have counts"):
        ps.tl.check_alignment(toy_section, "spots", table_key="spots_counts")


def test_the_pitch_is_held_against_known_arrays_or_the_one_that_is_stated(toy: SpatialData) -> None:
    assert "as on Visium" in ps.tl.check_alignment(toy, "spots").loc["µm per pixel", "finding"]
    stated = ps.tl.check_alignment(toy, "spots", pitch_um=200).loc["µm per pixel"]
    assert (stated["verdict"], stated["value"]) == ("check", pytest.approx(1.0, rel=0.02))
    with pytest.warns(UserWarning, match="differs between its sources"):
        ps.pp.mpp(toy, "he", mpp=1.0)
    with pytest.warns(UserWarning, match="differs between its sources"):
        report = ps.tl.check_alignment(toy, "spots")
    assert report.loc["µm per pixel", "verdict"] == "check"


def test_coverage_is_that_of_the_raster_to_be_aggregated(toy: SpatialData) -> None:
    systems = build.make_transformations({"global": np.eye(3)})
    toy["part"] = build.make_image(np.ones((1, SIDE, SIDE // 2), np.float32), ["a"], systems)
    line = ps.tl.check_alignment(toy, "bins_8um", image_key="he", raster_key="part").loc["covered"]
    expected = np.clip(SIDE // 2 - toy["bins_8um"].bounds["minx"], 0, 16).sum() * 16 / toy["bins_8um"].area.sum()
    assert (line["verdict"], line["value"]) == ("check", pytest.approx(expected))


def test_labels_of_tissue_are_used_and_none_are_attached(toy: SpatialData) -> None:
    before = {name for _, name, _ in toy.gen_elements()}
    ps.tl.check_alignment(toy, "bins_8um")
    assert {name for _, name, _ in toy.gen_elements()} == before
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[:256, :256] = 1
    toy["he_tissue"] = build.make_labels(corner, build.make_transformations({"global": np.eye(3)}))
    found = ps.tl.check_alignment(toy, "bins_8um").loc["on tissue"]
    assert found["value"] == pytest.approx(0.25, abs=0.03)
    assert re.search("fills 25% of the image", found["finding"])


def test_a_real_section_passes_and_a_mirrored_one_does_not(real_section: SpatialData) -> None:
    sdata = deepcopy(real_section)
    assert not flagged(ps.tl.check_alignment(sdata))
    width = sdata["he"]["scale0"]["image"].shape[-1]
    misplace(sdata, "spots", [[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    other_places = {"on tissue, against other places", "expression, against other places"}
    assert other_places <= set(flagged(ps.tl.check_alignment(sdata)))
