"""Bins tile the tissue and nest: four of 8 µm are one of 16 µm."""

import numpy as np
import pytest
import shapely
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError
from pixnet_sd._sdata import affine, build


def test_without_labels_bins_fill_the_image(toy: SpatialData) -> None:
    ps.pp.bins(toy, 16)
    ps.pp.bins(toy, 8, key_added="small")
    assert len(toy["bins_16um"]) == 16**2
    np.testing.assert_allclose(toy["bins_16um"].area, 32**2)
    assert set(affine.get_transformations(toy["bins_16um"])) == {"global", "micrometers"}
    parent = toy["bins_16um"].geometry.iloc[0]
    inside = shapely.covered_by(toy["small"].geometry.to_numpy(), parent)
    assert shapely.union_all(toy["small"].geometry[inside]).equals(parent)


def test_labels_decide_by_exact_share(toy: SpatialData) -> None:
    half = np.zeros((64, 64), np.uint8)
    half[:, :30] = 1
    toy["half"] = build.make_labels(half, build.make_transformations({"global": np.diag([8.0, 8.0, 1.0])}))
    kept = {share: ps.pp.bins(toy, 16, tissue_key="half", min_tissue=share, inplace=False) for share in (0.4, 0.6)}
    # The mask ends at 240 px, in the middle of the eighth column of bins of 32 px.
    assert kept[0.4]["array_col"].max() == 7
    assert kept[0.6]["array_col"].max() == 6


def test_labels_that_are_not_there_are_an_error(toy: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match="nonsense"):
        ps.pp.bins(toy, 16, tissue_key="nonsense")


@pytest.mark.parametrize("size_um", [0.0, -1.0, 1000.0, 1e-4])
def test_sizes_that_cannot_be_are_refused(toy: SpatialData, size_um: float) -> None:
    with pytest.raises(PixnetValueError, match="size_um|can be made"):
        ps.pp.bins(toy, size_um)


def test_a_size_in_words_is_refused(toy: SpatialData) -> None:
    with pytest.raises(PixnetTypeError, match="a number of µm, such as 8; got '8um'"):
        ps.pp.bins(toy, "8um")  # type: ignore[call-overload]
