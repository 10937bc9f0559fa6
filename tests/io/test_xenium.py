"""Xenium: the H&E image is turned, mirrored and moved, and every cell still lies on its own color."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import vendor_folders

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError, PixnetWarning

pytest.importorskip("spatialdata_io", reason="spatialdata-io is not installed: pip install 'pixnet-sd[io]'")


@pytest.mark.parametrize("planar", [False, True])
def test_cells_on_the_aligned_image(tmp_path: Path, planar: bool) -> None:
    truth = vendor_folders.xenium(tmp_path / "output", planar=planar)
    sdata = ps.io.xenium(truth.folder)
    assert ps.pp.mpp(sdata) == pytest.approx(truth.mpp)
    table = sdata["cells_counts"]
    assert list(sdata["cells"].index) == list(table.obs["instance_id"]) == truth.ids
    assert np.array_equal(table.X.toarray(), truth.counts)
    colors = ps.tl.aggregate(sdata, "cells", raster_key="he", statistic="mean", inplace=False)
    assert pytest.approx(truth.colors, abs=1e-3) == colors.X
    assert colors.obs["coverage"].to_numpy() == pytest.approx(1)
    cells = pd.read_parquet(truth.folder / "cells.parquet")
    assert table.obsm["spatial"] == pytest.approx(cells[["x_centroid", "y_centroid"]].to_numpy(), abs=1e-4)


def test_image_and_alignment_from_elsewhere(tmp_path: Path) -> None:
    truth = vendor_folders.xenium(tmp_path / "output")
    image = (truth.folder / "sample_he_image.ome.tif").rename(tmp_path / "he.ome.tif")
    matrix = (truth.folder / "sample_he_imagealignment.csv").rename(tmp_path / "matrix.csv")
    with pytest.raises(PixnetValueError, match="no file that ends in he_image.ome.tif"):
        ps.io.xenium(truth.folder)
    with pytest.raises(PixnetValueError, match="There is no alignment of he.ome.tif"):
        ps.io.xenium(truth.folder, image=image)
    from_file = ps.io.xenium(truth.folder, image=image, alignment=matrix)
    from_array = ps.io.xenium(truth.folder, image=image, alignment=np.loadtxt(matrix, delimiter=","))
    assert ps.pp.mpp(from_file) == ps.pp.mpp(from_array) == pytest.approx(truth.mpp)


def test_alignments_that_are_none(tmp_path: Path) -> None:
    truth = vendor_folders.xenium(tmp_path / "output")
    points = tmp_path / "keypoints.csv"
    points.write_text("fixedX,fixedY,alignmentX,alignmentY\n1,2,3,4\n")
    with pytest.raises(PixnetValueError, match="does not hold 3 x 3 numbers"):
        ps.io.xenium(truth.folder, alignment=points)
    with pytest.raises(PixnetValueError, match="regular 3 x 3 matrix"):
        ps.io.xenium(truth.folder, alignment=np.zeros((3, 3)))


def test_an_alignment_against_the_images_own_scale_warns(tmp_path: Path) -> None:
    truth = vendor_folders.xenium(tmp_path / "output")
    image = tmp_path / "he.ome.tif"
    pixels = tifffile.imread(truth.folder / "sample_he_image.ome.tif")
    tifffile.imwrite(image, pixels, photometric="rgb", metadata={"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25})
    with pytest.warns(PixnetWarning, match=r"0\.5 by its alignment; 0\.25 by the file's OME-XML"):
        sdata = ps.io.xenium(truth.folder, image=image, alignment=truth.folder / "sample_he_imagealignment.csv")
    assert ps.pp.mpp(sdata) == pytest.approx(0.5)


def test_cells_without_an_outline_are_left_out(tmp_path: Path) -> None:
    truth = vendor_folders.xenium(tmp_path / "output")
    file = truth.folder / "cell_boundaries.parquet"
    outlines = pd.read_parquet(file)
    outlines[~outlines["cell_id"].isin(truth.ids[3:5])].to_parquet(file)
    sdata = ps.io.xenium(truth.folder)
    assert list(sdata["cells"].index) == list(sdata["cells_counts"].obs_names) == truth.ids[:3] + truth.ids[5:]
    assert np.array_equal(sdata["cells_counts"].X.toarray(), np.delete(truth.counts, [3, 4], axis=0))


def test_folders_that_are_something_else(tmp_path: Path) -> None:
    with pytest.raises(PixnetValueError, match="is not a Xenium folder: it has no experiment.xenium"):
        ps.io.xenium(tmp_path)
