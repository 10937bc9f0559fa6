"""Genes are programs times loadings, whenever and wherever they are read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
import tiny
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import affine, build, levels, maps
from pixnet_sd.tl._expand import expand

PROGRAMS = np.random.default_rng(0).random((2, 40, 60)).astype(np.float32)
LOADINGS = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
INTERCEPT = np.array([0.0, 10.0, 20.0])
GENES = np.einsum("kyx,kg->gyx", PROGRAMS, LOADINGS) + INTERCEPT[:, None, None]


@pytest.fixture
def sdata() -> SpatialData:
    systems = build.make_transformations({"global": np.diag([4.0, 4.0, 1.0])})
    var = pd.DataFrame({"intercept": INTERCEPT}, index=["A", "B", "C"])
    elements = {
        "he_programs": levels.fill_levels(levels.blank_raster((2, 40, 60), ["p0", "p1"], systems), PROGRAMS),
        "he_programs_loadings": build.make_loadings(LOADINGS, ["p0", "p1"], var, "he_programs"),
    }
    facts = {"kind": "programs", "image": "he", "unit": "log1p", "mpp": 2.0}
    return build.make_section(elements, {"he_programs": facts}, {})


def test_all_genes_or_some_where_the_map_lies(sdata: SpatialData) -> None:
    expand(sdata)
    found = sdata["he_expression"]
    assert found.coords["c"].values.tolist() == ["A", "B", "C"]
    assert_close(found.values, GENES, ulp=16)
    matrices = [
        affine.to_matrix(affine.get_transformations(sdata[key])["global"]) for key in ("he_expression", "he_programs")
    ]
    np.testing.assert_array_equal(matrices[0], matrices[1])
    some = expand(sdata, ["C", "A"], inplace=False)
    assert_close(some.values, GENES[[2, 0]], ulp=16)


def test_aggregation_finds_the_programs_behind_the_genes(sdata: SpatialData) -> None:
    expand(sdata)
    assert maps.read_map(sdata, "he_expression").key == "he_programs"


def test_reading_one_gene_does_not_compute_all_others() -> None:
    matrix = np.eye(40)
    loadings = maps.Loadings(matrix, np.zeros(40))
    programs = build.make_image(
        np.zeros((40, 8, 8), np.float32),
        [f"p{n}" for n in range(40)],
        build.make_transformations({"global": np.eye(3)}),
    )
    raster = maps.Map("m", programs.data, pd.DataFrame(index=[f"g{n}" for n in range(40)]), loadings)
    assert levels.genes_of(raster).chunks[0] == (16, 16, 8)


def test_after_reading_a_store_again(sdata: SpatialData, tmp_path: Path) -> None:
    sdata.write(tmp_path / "s.zarr")
    again = sd.read_zarr(tmp_path / "s.zarr")
    expand(again, ["B"])
    assert_close(again["he_expression"].values, GENES[[1]], ulp=16)
    assert "he_expression" not in sd.read_zarr(tmp_path / "s.zarr")
    again.write_element("he_expression")
    stored = sd.read_zarr(tmp_path / "s.zarr")
    with pytest.raises(PixnetKeyError, match=r"is in the store .* another key_added"):
        expand(stored, ["A"], overwrite=True)


def test_too_much_is_refused_with_both_numbers(sdata: SpatialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps.settings, "raster_limit", 20_000)
    with pytest.raises(PixnetValueError, match=r"3 genes .* 28,800 bytes .* \(20,000\)"):
        expand(sdata)
    expand(sdata, ["A", "B"])


def test_what_is_no_map_is_refused(sdata: SpatialData) -> None:
    sdata["plain"] = build.make_image(
        np.ones((2, 4, 4), np.float32), "ab", build.make_transformations({"global": np.eye(3)})
    )
    with pytest.raises(PixnetKeyError, match="no loadings"):
        expand(sdata, raster_key="plain")
    with pytest.raises(PixnetKeyError, match="NOT_A_GENE"):
        expand(sdata, ["NOT_A_GENE"])


def test_genes_are_called_what_the_prediction_called_them() -> None:
    slide = ps.datasets.toy(size_px=256)
    slide = build.make_section({"he": slide["he"]}, {}, {"he": 0.5})
    ps.tl.predict(slide, "he", model=tiny.model(["A", "B"]), image_key_added="second", device="cpu", progress=False)
    genes = slide["second"]
    del slide["second"]
    expand(slide, raster_key="second_programs")
    assert "he_expression" not in slide
    np.testing.assert_array_equal(slide["second"].values, genes.values)


def test_a_crop_of_a_map_with_coarser_levels_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halving 27 rows gives 14 where they are cut from a level, and 13 where that is made anew."""
    monkeypatch.setattr(levels, "PYRAMID_FROM_PX", 32)
    monkeypatch.setattr(build, "COARSEST_PX", 8)
    systems = build.make_transformations({"global": np.diag([4.0, 4.0, 1.0])})
    whole = build.make_section(
        {
            "he_programs": levels.fill_levels(levels.blank_raster((2, 40, 60), ["p0", "p1"], systems), PROGRAMS),
            "he_programs_loadings": build.make_loadings(
                LOADINGS, ["p0", "p1"], pd.DataFrame(index=list("ABC")), "he_programs"
            ),
        },
        {"he_programs": {"kind": "programs", "image": "he", "unit": "log1p", "mpp": 2.0}},
        {},
    )
    box = {"min_coordinate": [10, 18], "max_coordinate": [150, 126], "target_coordinate_system": "global"}
    part = sd.bounding_box_query(whole, axes=("x", "y"), **box)
    part["he_programs_loadings"] = whole["he_programs_loadings"]
    expand(part)
    for genes, programs in zip(*map(levels.arrays_of, (part["he_expression"], part["he_programs"])), strict=True):
        expected = np.einsum("kyx,kg->gyx", programs.compute(), LOADINGS)
        assert_close(genes.compute(), expected)
    one, other = (
        affine.to_matrix(affine.get_transformations(part[key])["global"]) for key in ("he_expression", "he_programs")
    )
    np.testing.assert_array_equal(one, other)
