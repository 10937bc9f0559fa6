"""The synthetic section is what it says: counts are draws from a truth that can be had back."""

import dask.array as da
import numpy as np
import pytest
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError


def test_elements_and_systems(toy_section: SpatialData) -> None:
    assert set(toy_section.images) == {"he", "truth"}
    assert set(toy_section.shapes) == {"spots", "bins_8um", "cells"}
    assert set(toy_section.tables) == {"spots_counts", "bins_8um_counts", "truth_loadings"}
    assert set(toy_section.coordinate_systems) == {"global", "micrometers"}
    assert ps.pp.mpp(toy_section) == 0.5
    assert set(toy_section["cells"]["cell_type"]) <= {"epithelial", "fibroblast", "lymphocyte", "tumour"}


def test_counts_are_poisson_draws_from_the_truth(toy_section: SpatialData) -> None:
    truth = ps.tl.aggregate(toy_section, "bins_8um", raster_key="truth", inplace=False)
    counts = toy_section["bins_8um_counts"].X.toarray()
    expected = np.asarray(truth.X, float)
    assert truth.var_names.equals(toy_section["bins_8um_counts"].var_names)
    deviance = ((counts - expected) ** 2).sum() / expected.sum()
    assert deviance == pytest.approx(1.0, abs=0.05)
    assert counts.sum() == pytest.approx(expected.sum(), rel=5 / np.sqrt(expected.sum()))


def test_same_seed_same_section_other_seed_other_section() -> None:
    one, again, other = (ps.datasets.toy(seed, size_px=256) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["he"].values, again["he"].values)
    assert (one["bins_8um_counts"].X != again["bins_8um_counts"].X).nnz == 0
    assert (one["he"].values != other["he"].values).any()


def test_bins_may_be_of_several_sizes_and_turned() -> None:
    sdata = ps.datasets.toy(size_px=256, bins_um=(2.0, 16.0), bins_rotation_deg=20)
    for size in (2, 16):
        np.testing.assert_allclose(sdata[f"bins_{size}um"].area, (size / 0.5) ** 2)
    corners = sdata["bins_16um"].geometry.iloc[0].exterior.coords
    slope = np.degrees(np.arctan2(corners[1][1] - corners[0][1], corners[1][0] - corners[0][0]))
    assert slope == pytest.approx(20)


def test_mpp_changes_the_sampling_only() -> None:
    fine, coarse = ps.datasets.toy(size_px=512, mpp=0.5), ps.datasets.toy(size_px=256, mpp=1.0)
    assert len(fine["bins_8um"]) == pytest.approx(len(coarse["bins_8um"]), rel=0.02)
    totals = [sdata["bins_8um_counts"].X.sum() / len(sdata["bins_8um"]) for sdata in (fine, coarse)]
    assert totals[0] == pytest.approx(totals[1], rel=0.05)


def test_pyramid_and_sizes() -> None:
    sdata = ps.datasets.toy(size_px=1024, bins_um=64.0, pyramid=True)
    assert list(sdata["he"].children) == ["scale0", "scale1"]
    with pytest.raises(PixnetValueError, match="use 256 to 20000"):
        ps.datasets.toy(size_px=100)


def test_a_large_slide_is_lazy() -> None:
    from pixnet_sd.datasets._synthetic.histology import Histology
    from pixnet_sd.datasets._toy import make_raster

    slide = Histology(20_000, 20_000)
    lazy = make_raster(slide, slide.image, 3, np.dtype(np.uint8))
    assert isinstance(lazy, da.Array)
    corner = lazy[:, 10_000:10_064, 5_000:5_064].compute()
    assert corner.shape == (3, 64, 64)
