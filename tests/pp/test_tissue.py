"""`pp.tissue` marks what is tissue, at its place, for any image it can read."""

import numpy as np
import pytest
from spatialdata import SpatialData

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
