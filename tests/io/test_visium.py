"""Visium: every spot lies on its own color, and its counts are its own."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vendor_folders
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError, PixnetWarning
from pixnet_sd._sdata import affine

pytest.importorskip("spatialdata_io", reason="spatialdata-io is not installed: pip install 'pixnet-sd[io]'")


def check(sdata: SpatialData, truth: vendor_folders.Truth) -> None:
    """The mean color under each spot is that spot's own, and the rows of the table are the spots', in order."""
    table = sdata["spots_counts"]
    assert list(sdata["spots"].index) == list(table.obs["instance_id"]) == list(table.obs_names)
    rows = table.obs_names.get_indexer(truth.ids)
    assert sorted(rows) == list(range(len(truth.ids)))
    assert np.array_equal(table.X.toarray()[rows], truth.counts)
    assert list(table.var_names[:2]) == ["GENE0", "GENE1"]
    assert list(table.var["gene_ids"][:1]) == ["ENSG00000000000"]
    colors = ps.tl.aggregate(sdata, "spots", raster_key="he", statistic="mean", inplace=False)
    assert colors.X[rows] == pytest.approx(truth.colors, abs=1e-3)


@pytest.mark.parametrize(("old", "prefix"), [(False, ""), (True, "V1_Brain_")])
def test_spots_on_the_microscope_image(tmp_path: Path, old: bool, prefix: str) -> None:
    truth = vendor_folders.visium(tmp_path / "outs", old=old, prefix=prefix)
    sdata = ps.io.visium(truth.folder, image=truth.folder / "section.tif")
    check(sdata, truth)
    assert ps.pp.mpp(sdata) == pytest.approx(truth.mpp, rel=1e-6)
    assert ps.pp.mpp(sdata, spots_key="spots", pitch_um=100, inplace=False) == pytest.approx(truth.mpp, rel=1e-6)
    assert sdata["spots"]["radius"].to_numpy() * truth.mpp == pytest.approx(27.5)
    distances = np.linalg.norm(np.diff(sdata["spots_counts"].obsm["spatial"], axis=0), axis=1)
    assert distances.min() == pytest.approx(100)
    assert not sdata["spots_counts"].obs["in_tissue"].eq(0).any()


def test_spots_on_the_small_image(tmp_path: Path) -> None:
    truth = vendor_folders.visium(tmp_path / "outs")
    sdata = ps.io.visium(truth.folder)
    check(sdata, truth)
    assert ps.pp.mpp(sdata) == pytest.approx(2 * truth.mpp)
    assert set(sdata.coordinate_systems) == {"global", "micrometers"}


def test_another_scale_than_that_of_the_spots_warns(tmp_path: Path) -> None:
    truth = vendor_folders.visium(tmp_path / "outs")
    with pytest.warns(PixnetWarning, match=r"2 by the argument mpp; 2\.5 by the spots' pitch"):
        sdata = ps.io.visium(truth.folder, image=truth.folder / "section.tif", mpp=2.0)
    assert ps.pp.mpp(sdata) == 2.0


def test_an_image_of_another_size_warns(tmp_path: Path) -> None:
    truth = vendor_folders.visium(tmp_path / "outs")
    with pytest.warns(PixnetWarning, match="lie on tissue_lowres_image.png"):
        ps.io.visium(truth.folder, image=truth.folder / "spatial" / "tissue_lowres_image.png")


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "filtered_feature_bc_matrix").mkdir()
    with pytest.raises(PixnetValueError, match=r"no \*filtered_feature_bc_matrix.h5; found \['filtered_feature_bc"):
        ps.io.visium(tmp_path)
    truth = vendor_folders.visium(tmp_path / "outs")
    (truth.folder / "spatial" / "tissue_positions.csv").unlink()
    with pytest.raises(PixnetValueError, match="Cannot find `tissue_positions`"):
        ps.io.visium(truth.folder)


def test_without_spatialdata_io_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = vendor_folders.visium(tmp_path / "outs")
    monkeypatch.setitem(sys.modules, "spatialdata_io", None)
    with pytest.raises(PixnetRuntimeError, match=r'pip install "pixnet-sd\[io\]"'):
        ps.io.visium(truth.folder)


def test_real_spots_lie_on_tissue(real_data: Path, tmp_path: Path) -> None:
    """Places and image are real. The counts are not in 10x's format, so each spot gets one count."""
    source, spatial = real_data / "mousebrain_visium_mini", tmp_path / "spatial"
    spatial.mkdir()
    shutil.copy(source / "tissue_positions_list.csv", spatial)
    shutil.copy(source / "tissue_lowres_image.png", spatial / "tissue_hires_image.png")
    scales = json.loads((source / "scalefactors_json.json").read_text())
    low = scales["tissue_hires_scalef"] = scales["tissue_lowres_scalef"]
    (spatial / "scalefactors_json.json").write_text(json.dumps(scales))
    places = pd.read_csv(source / "tissue_positions_list.csv", header=None)
    barcodes = list(places[0][places[1] == 1])
    counts = np.ones((len(barcodes), 1), np.int32)
    vendor_folders.write_10x_h5(tmp_path / "filtered_feature_bc_matrix.h5", counts, barcodes, library_ids=[b"V1"])

    sdata = ps.io.visium(tmp_path)
    assert len(sdata["spots"]) == 2702
    assert ps.pp.mpp(sdata) * low == pytest.approx(65 / scales["spot_diameter_fullres"], rel=0.01)
    brightness = ps.tl.aggregate(sdata, "spots", raster_key="he", statistic="mean", inplace=False).X.mean(axis=1)
    glass = affine.finest_array(sdata["he"]).values[:, :20, :20].mean()
    assert np.mean(brightness < glass - 15) > 0.95
