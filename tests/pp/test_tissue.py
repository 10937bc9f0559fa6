"""`pp.tissue` marks what is tissue, at its place, for any image it can read."""

import numpy as np
import pandas as pd
import pytest
from spatialdata import SpatialData
from spatialdata.transformations import Translation, set_transformation

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError, PixnetWarning
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd.datasets._synthetic.histology import Histology


def test_toy_tissue_is_found_where_it_is() -> None:
    slide = Histology(2048, 2048)
    truth = slide.tissue(slide.window)
    image = build.make_image(
        slide.image(slide.window), "rgb", build.make_transformations({"global": np.eye(3)}), pyramid=True
    )
    sdata = build.make_section({"he": image}, {}, {"he": 0.5})
    ps.pp.tissue(sdata)
    labels = sdata["he_tissue"]
    assert labels.shape == (128, 128)
    np.testing.assert_allclose(affine.to_matrix(affine.get_transformations(labels)["global"]), np.diag([16, 16, 1]))
    found, true = labels.values > 0, truth.reshape(128, 16, 128, 16).mean(axis=(1, 3)) > 0.5
    assert (found & true).sum() / (found | true).sum() > 0.9
    assert (get_record(sdata, "he_tissue") or {})["kind"] == "tissue"


def test_white_glass_is_a_valid_result_with_a_warning() -> None:
    white = build.make_image(
        np.full((3, 300, 400), 250, np.uint8), "rgb", build.make_transformations({"global": np.eye(3)})
    )
    sdata = build.make_section({"he": white}, {}, {"he": 0.5})
    with pytest.warns(PixnetWarning, match="No tissue"):
        ps.pp.tissue(sdata)
    assert int(sdata["he_tissue"].sum()) == 0


def test_existing_labels_are_kept_unless_overwritten(toy: SpatialData) -> None:
    ps.pp.tissue(toy)
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        ps.pp.tissue(toy)
    ps.pp.tissue(toy, overwrite=True)
    ps.pp.tissue(toy, key_added="mask")
    np.testing.assert_array_equal(toy["mask"].values, toy["he_tissue"].values)


def test_a_16_bit_image_needs_its_range() -> None:
    slide = Histology(600, 600)
    wide = slide.image(slide.window).astype(np.uint16) * 257
    sdata = build.make_section(
        {"he": build.make_image(wide, "rgb", build.make_transformations({"global": np.eye(3)}))}, {}, {"he": 0.5}
    )
    with pytest.raises(PixnetValueError, match="value_range"):
        ps.pp.tissue(sdata)
    assert ps.pp.tissue(sdata, value_range=(0, 65535), inplace=False).shape == (38, 38)


def pale_section(measured: bool) -> SpatialData:
    """A square of pale tissue at 8 µm per pixel, with four spots on it of which only some have counts."""
    systems = build.make_transformations({"global": np.eye(3)})
    picture = np.full((3, 100, 100), 240, np.uint8)
    picture[:, 20:80, 20:80] = np.array([224, 213, 230], np.uint8)[:, None, None]
    centers = np.array([(30.0, 30.0), (30.0, 70.0), (70.0, 30.0), (5.0, 5.0)])
    spots = build.make_circles(centers, 5.0, pd.RangeIndex(4), systems)
    elements = {"he": build.make_image(picture, "rgb", systems), "spots": spots}
    if measured:
        counts = np.array([[3], [2], [1], [0]])
        elements["counts"] = build.make_table(counts, pd.DataFrame(index=["KRT8"]), "spots", spots.index)
    return build.make_section(elements, {}, {"he": 8.0})


def test_measured_shapes_bring_pale_tissue_in() -> None:
    without, with_counts = pale_section(measured=False), pale_section(measured=True)
    with pytest.warns(PixnetWarning, match="No tissue"):
        ps.pp.tissue(without)
    ps.pp.tissue(with_counts)
    assert with_counts["he_tissue"].values[25:75, 25:75].all()
    ps.pp.tissue(without, sensitivity=1.5, overwrite=True)
    np.testing.assert_array_equal(without["he_tissue"].values, with_counts["he_tissue"].values)


def test_measured_shapes_off_the_tissue_are_told() -> None:
    sdata = pale_section(measured=True)
    sdata["counts"].X = np.ones((4, 1))
    with pytest.warns(PixnetWarning, match="Only 75% of the 4 measured shapes"):
        ps.pp.tissue(sdata, sensitivity=1.5)


@pytest.mark.parametrize("sensitivity", [0, -1, np.inf, np.nan])
def test_a_sensitivity_is_a_positive_number(toy: SpatialData, sensitivity: float) -> None:
    with pytest.raises(PixnetValueError, match="sensitivity="):
        ps.pp.tissue(toy, sensitivity=sensitivity)


def test_shapes_whose_coordinate_systems_disagree_are_left_aside(
    toy: SpatialData, caplog: pytest.LogCaptureFixture
) -> None:
    set_transformation(toy["spots"], Translation([200, 0], ("x", "y")), "global")
    ps.pp.tissue(toy)
    assert "not used to find the tissue" in caplog.text
