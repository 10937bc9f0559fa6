"""The section in the package: whole, small, and equal to the part of C5 that it was cut from."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.datasets import _her2st_files as files


@pytest.fixture(scope="module")
def section() -> SpatialData:
    return ps.datasets.breast()


@pytest.fixture(scope="module")
def whole(real_data: Path) -> files.MeasuredSection:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXNET_SD_DATA_DIR", str(real_data))
        return files.read_section("C5")


def test_elements_scale_and_coordinate_systems(section: SpatialData) -> None:
    assert {name for _, name, _ in section.gen_elements()} == {"he", "spots", "spots_counts"}
    assert set(section.coordinate_systems) == {"global", "micrometers"}
    assert ps.pp.mpp(section) == pytest.approx(0.69, rel=0.01)
    assert section["he"]["scale0"].sizes == {"c": 3, "y": 2896, "x": 4352}
    assert section["spots"].index.tolist() == section["spots_counts"].obs["instance_id"].tolist()


def test_spots_lie_wholly_in_the_image(section: SpatialData) -> None:
    x0, y0, x1, y1 = section["spots"].buffer(section["spots"]["radius"]).total_bounds
    assert min(x0, y0) >= 0 and x1 <= 4352 and y1 <= 2896
    assert 2 * section["spots"]["radius"].iloc[0] * ps.pp.mpp(section) == pytest.approx(100)


def test_counts_are_raw_and_of_all_genes(section: SpatialData) -> None:
    counts = section["spots_counts"].X
    assert counts.shape == (98, 15721)
    assert counts.dtype == np.int32 and counts.data.min() > 0
    assert section["spots_counts"].var_names.is_unique
    assert np.median(np.asarray(counts.sum(axis=1))) > 8_000


def test_files_are_small_and_carry_their_attribution() -> None:
    assert sum(path.stat().st_size for path in files.BREAST_FOLDER.iterdir()) <= 3_000_000
    with Image.open(files.BREAST_FOLDER / "breast.jpg") as image, np.load(files.BREAST_FOLDER / "breast.npz") as spots:
        texts = [image.info["comment"].decode(), str(spots["attribution"])]
    texts += [(files.BREAST_FOLDER / "ATTRIBUTION.txt").read_text(), str(ps.datasets.breast.__doc__)]
    assert all("Andersson" in text and "CC BY 4.0" in text for text in texts)


def test_counts_and_places_are_those_of_the_whole_section(whole: files.MeasuredSection) -> None:
    part = files.read_breast()
    rows = [whole.spot_ids.tolist().index(spot) for spot in part.spot_ids]
    assert (part.counts != whole.counts[rows]).nnz == 0
    assert (part.centers_xy_px + files.BREAST_CROP_PX[:2] == whole.centers_xy_px[rows]).all()
    assert part.genes.tolist() == whole.genes.tolist()
    assert part.mpp == whole.mpp


@pytest.mark.filterwarnings("ignore:Image size")
def test_pixels_are_those_of_the_whole_section(whole: files.MeasuredSection) -> None:
    """Two compressions apart, so few gray levels."""
    with Image.open(whole.image_path) as image:
        original = np.asarray(image.crop(files.BREAST_CROP_PX), np.float32)
    part = np.moveaxis(files.read_breast().image(), 0, -1)
    assert part.shape == original.shape
    assert np.sqrt(np.square(part - original).mean()) < 3
