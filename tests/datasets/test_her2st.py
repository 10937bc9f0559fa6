"""A real section as SpatialData."""

import numpy as np
import pytest
from spatialdata import SpatialData

import pixnet_sd as ps


def test_image_spots_counts_and_scale(real_section: SpatialData) -> None:
    assert ps.pp.mpp(real_section) == pytest.approx(0.69, rel=0.01)
    assert ps.pp.mpp(real_section, spots_key="spots", pitch_um=200, inplace=False) == pytest.approx(0.69, rel=0.02)
    assert len(real_section["spots"]) == real_section["spots_counts"].n_obs == 187
    assert np.median(np.asarray(real_section["spots_counts"].X.sum(axis=1))) > 8_000
    diameter_um = 2 * real_section["spots"]["radius"].iloc[0] * ps.pp.mpp(real_section)
    assert diameter_um == pytest.approx(100)


def test_spots_lie_on_tissue(real_section: SpatialData) -> None:
    labels = ps.pp.tissue(real_section, inplace=False)
    real_section["tissue"] = labels
    share = ps.tl.aggregate(real_section, "spots", raster_key="he", statistic="mean", inplace=False)
    assert share.n_obs == 187
    step = real_section["he"]["scale0"].sizes["x"] / labels.sizes["x"]
    centers = (real_section["spots"].get_coordinates().to_numpy() / step).astype(int)
    on_tissue = labels.values[centers[:, 1], centers[:, 0]]
    assert on_tissue.mean() >= 0.97
    assert 0.10 <= float(labels.mean()) <= 0.25
    del real_section["tissue"]
