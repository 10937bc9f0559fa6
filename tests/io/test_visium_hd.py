"""Visium HD: squares along the array's axes, on the right pixels, without overlap and without gap."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import vendor_folders
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import affine

pytest.importorskip("spatialdata_io", reason="spatialdata-io is not installed: pip install 'pixnet-sd[io]'")


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[int, vendor_folders.Truth]:
    return vendor_folders.visium_hd(tmp_path_factory.mktemp("hd") / "outs")


def rows_of(sdata: SpatialData, size: int, truth: vendor_folders.Truth) -> np.ndarray:
    """Where the bins that the truth lists stand in what was read: all are there, with their counts."""
    table = sdata[f"bins_{size}um_counts"]
    rows = table.obs_names.get_indexer(truth.ids)
    assert sorted(rows) == list(range(len(truth.ids)))
    assert list(sdata[f"bins_{size}um"].index) == list(table.obs["instance_id"])
    assert np.array_equal(table.X.toarray()[rows], truth.counts)
    return rows


def test_turned_bins_have_their_own_color_at_their_center(truths: dict[int, vendor_folders.Truth]) -> None:
    sdata = ps.io.visium_hd(truths[2].folder, [2, 8, 16])
    assert ps.pp.mpp(sdata) == pytest.approx(0.5)
    pixels = affine.finest_array(sdata["he"]).values
    for size, truth in truths.items():
        rows = rows_of(sdata, size, truth)
        x, y = sdata[f"bins_{size}um"].centroid.get_coordinates().to_numpy()[rows].astype(int).T
        assert np.array_equal(pixels[:, y, x].T, truth.colors)


def test_straight_bins_have_the_mean_of_their_own_color(tmp_path: Path) -> None:
    truths = vendor_folders.visium_hd(tmp_path / "outs", turned_deg=0)
    sdata = ps.io.visium_hd(truths[2].folder, (2, 16))
    for size in (2, 16):
        rows = rows_of(sdata, size, truths[size])
        seen = ps.tl.aggregate(sdata, f"bins_{size}um", raster_key="he", statistic="mean", inplace=False)
        assert seen.X[rows] == pytest.approx(truths[size].colors, abs=1e-3)


def test_bins_are_squares_that_neither_overlap_nor_leave_gaps(truths: dict[int, vendor_folders.Truth]) -> None:
    sdata = ps.io.visium_hd(truths[2].folder, (2, 8, 16))
    parts = {size: sdata[f"bins_{size}um"].geometry.to_numpy() for size in truths}
    for size, squares in parts.items():
        assert shapely.area(squares) == pytest.approx((size / 0.5) ** 2)
        assert shapely.area(shapely.union_all(squares, grid_size=1e-6)) == pytest.approx(shapely.area(squares).sum())
    shares = shapely.area(shapely.intersection(parts[8][:, None], parts[16][None])) / (8 / 0.5) ** 2
    assert np.abs(shares - shares.round()).max() < 1e-6  # a bin of 8 µm lies in one of 16 µm as a whole, or not at all


def test_one_size_is_a_number(truths: dict[int, vendor_folders.Truth]) -> None:
    sdata = ps.io.visium_hd(truths[2].folder, image=truths[2].folder / "microscope_image" / "section.btf")
    assert sorted(sdata.shapes) == ["bins_8um"]
    assert sorted(sdata.tables) == ["bins_8um_counts"]


def test_without_the_microscope_image_the_small_one_is_read(tmp_path: Path) -> None:
    folder = vendor_folders.visium_hd(tmp_path / "outs", turned_deg=0)[8].folder
    (folder / "microscope_image" / "section.btf").unlink()
    sdata = ps.io.visium_hd(folder, 16)
    assert ps.pp.mpp(sdata) == pytest.approx(1.0)
    assert sdata["he"].shape == (3, 200, 200)


def test_segmented_cells_come_along(tmp_path: Path) -> None:
    truth = vendor_folders.visium_hd(tmp_path / "outs", turned_deg=0)[16]
    folder = truth.folder / "segmented_outputs"
    (folder / "spatial").mkdir(parents=True)
    (folder / "spatial" / "scalefactors_json.json").write_text(
        (truth.folder / "binned_outputs/square_008um/spatial/scalefactors_json.json").read_text()
    )
    ring = [[110, 60], [120, 60], [120, 70], [110, 60]]
    features = [
        {"properties": {"cell_id": k}, "geometry": {"type": "Polygon", "coordinates": [ring]}} for k in (1, 2, 3)
    ]
    (folder / "cell_segmentations.geojson").write_text(json.dumps({"features": features}))
    ids = [f"cellid_{k:09d}-1" for k in (2, 3)]
    vendor_folders.write_10x_h5(folder / "filtered_feature_cell_matrix.h5", vendor_folders.counts_of(2), ids)
    sdata = ps.io.visium_hd(truth.folder, 16)
    assert list(sdata["cells"].index) == list(sdata["cells_counts"].obs["instance_id"]) == ids
    assert sdata["cells"].area.tolist() == [50, 50]


def test_sizes_that_are_not_there(truths: dict[int, vendor_folders.Truth]) -> None:
    with pytest.raises(PixnetValueError, match=r"bins_um=\[4\] is not available; .* has bins of \[2, 8, 16\]"):
        ps.io.visium_hd(truths[2].folder, 4)
    with pytest.raises(PixnetValueError, match="it has no binned_outputs"):
        ps.io.visium_hd(truths[2].folder / "binned_outputs")
