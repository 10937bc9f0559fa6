"""What is recorded of an element counts only for the pixels, and only in the object, that it was recorded for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
from hardening.slides import GENES, aggregate, picture, pixels, predict, section, squares, tiny_model
from spatialdata import SpatialData
from spatialdata.models import Image2DModel
from spatialdata.transformations import Scale, get_transformation

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetKeyError, PixnetValueError, PixnetWarning

CORNER: dict[str, Any] = {
    "axes": ("x", "y"),
    "min_coordinate": [0, 0],
    "max_coordinate": [40, 40],
    "target_coordinate_system": "global",
}


def sums(sdata: SpatialData, key: str, **options: Any) -> np.ndarray:
    return aggregate(sdata, "cells", raster_key=key, **options).X


def stored(folder: Path) -> SpatialData:
    section(cells=squares()).write(folder / "s.zarr")
    return sd.read_zarr(folder / "s.zarr")


def test_an_object_opened_before_a_map_was_replaced_never_mixes_two_models(tmp_path: Path) -> None:
    first = stored(tmp_path)
    predict(first, "he", model=tiny_model(0))
    before, other = sd.read_zarr(first.path), sd.read_zarr(first.path)
    predict(other, "he", model=tiny_model(1), overwrite=True)
    for opened in (first, before):
        with pytest.raises(PixnetError, match=r"[Rr]ead the store again"):
            sums(opened, "he_programs")
    np.testing.assert_array_equal(sums(sd.read_zarr(first.path), "he_programs"), sums(other, "he_programs"))


def test_genes_that_were_expanded_follow_their_map_when_it_is_replaced(tmp_path: Path) -> None:
    sdata = stored(tmp_path)
    predict(sdata, "he", model=tiny_model(0))
    ps.tl.expand(sdata, ["VIM"], raster_key="he_programs", key_added="vim")
    predict(sdata, "he", model=tiny_model(1), overwrite=True)
    expected = sdata["he_expression"].sel(c=["VIM"]).values
    if "vim" in sdata.images:
        np.testing.assert_array_equal(sdata["vim"].values, expected)


def test_what_is_stated_of_a_crop_says_nothing_of_the_whole() -> None:
    whole = section(cells=squares())
    crop = sd.bounding_box_query(whole, **CORNER)
    crop["he"] = picture(crop["he"].values.repeat(2, 1).repeat(2, 2))
    with pytest.warns(PixnetWarning, match="differs between its sources"):
        ps.pp.mpp(crop, "he", mpp=0.25)
    assert ps.pp.mpp(whole, "he") == 0.5
    predict(whole, "he")
    expected = sums(whole, "he_programs")
    predict(sd.bounding_box_query(whole, **CORNER), "he", model=tiny_model(1), overwrite=True)
    np.testing.assert_array_equal(sums(whole, "he_programs"), expected)


def test_an_image_of_the_users_own_is_read_as_what_it_is() -> None:
    sdata = section(cells=squares())
    predict(sdata, "he")
    own = np.full((3, 12, 16), 7.0, np.float32)
    systems = get_transformation(sdata["he_expression"], get_all=True)
    sdata["he_expression"] = Image2DModel.parse(own, dims="cyx", c_coords=GENES, transformations=systems)
    np.testing.assert_allclose(sums(sdata, "he_expression", statistic="mean"), 7.0, rtol=1e-6)


def test_genes_that_were_expanded_are_the_genes_of_their_table() -> None:
    sdata = section(cells=squares())
    predict(sdata, "he")
    ps.tl.expand(sdata, ["VIM"], raster_key="he_programs", key_added="vim")
    assert aggregate(sdata, "cells", raster_key="vim").var_names.tolist() == ["VIM"]


def test_a_replaced_image_has_the_size_of_pixel_that_its_own_place_says() -> None:
    sdata = section(mpp=0.5)
    every_second = {"global": Scale([2, 2], ("x", "y"))}
    sdata["he"] = Image2DModel.parse(
        pixels()[:, ::2, ::2], dims="cyx", c_coords=list("rgb"), transformations=every_second
    )
    assert ps.pp.mpp(sdata, "he") == 1.0


def test_a_renamed_map_of_logs_is_averaged_and_never_summed() -> None:
    sdata = section(cells=squares())
    predict(sdata, "he", model=tiny_model(head="log"))
    sdata["map"], sdata["map_loadings"] = sdata["he_programs"], sdata["he_programs_loadings"]
    table = aggregate(sdata, "cells", raster_key="map")
    assert table.uns["pixnet_sd"]["statistic"] == "mean"
    with pytest.raises(PixnetValueError, match="logs do not add up"):
        sums(sdata, "map", statistic="sum")


def test_attributes_that_another_object_writes_change_no_sum(tmp_path: Path) -> None:
    old = stored(tmp_path)
    new = sd.read_zarr(old.path)
    predict(new, "he")
    expected = sums(new, "he_programs")
    old.attrs["my_study"] = "colon"
    old.write_attrs()
    table = aggregate(sd.read_zarr(old.path), "cells", raster_key="he_programs")
    np.testing.assert_array_equal(table.X, expected)
    assert table.uns["pixnet_sd"]["unit"] == "counts"


def test_a_map_is_refused_once_the_size_of_its_pixels_was_corrected() -> None:
    sdata = section(cells=squares())
    predict(sdata, "he")
    with pytest.warns(PixnetWarning, match="differs between its sources"):
        ps.pp.mpp(sdata, "he", mpp=0.25)
    with pytest.raises(PixnetValueError, match=r"predicted at 0\.5 µm per pixel .* 0\.25"):
        sums(sdata, "he_programs")


def test_without_a_map_the_colors_of_the_image_are_summed_only_by_name() -> None:
    sdata = section(cells=squares())
    with pytest.raises(PixnetKeyError, match="No map has been predicted"):
        ps.tl.aggregate(sdata, "cells")
    assert aggregate(sdata, "cells", raster_key="he").var_names.tolist() == ["r", "g", "b"]
