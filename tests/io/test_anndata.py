"""AnnData with positions: every spot lies on its own color, at the scale that its picture has."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import tifffile
import vendor_folders
from skimage.io import imread

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetTypeError, PixnetWarning


@pytest.fixture
def truth(tmp_path: Path) -> vendor_folders.Truth:
    return vendor_folders.visium(tmp_path / "outs")


@pytest.fixture
def visium(truth: vendor_folders.Truth) -> ad.AnnData:
    """As squidpy and scanpy read the folder: positions in pixels of the microscope image."""
    spatial = truth.folder / "spatial"
    places = pd.read_csv(spatial / "tissue_positions.csv", index_col="barcode").loc[truth.ids]
    images = {name: imread(spatial / f"tissue_{name}_image.png") / np.float32(255) for name in ("hires", "lowres")}
    factors = {"tissue_hires_scalef": 0.5, "tissue_lowres_scalef": 0.25, "spot_diameter_fullres": 65 / truth.mpp}
    return ad.AnnData(
        truth.counts,
        obs=places[["in_tissue", "array_row", "array_col"]],
        obsm={"spatial": places[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(), "X_pca": truth.colors},
        uns={"spatial": {"sample": {"images": images, "scalefactors": factors}}},
        layers={"counts": truth.counts},
    )


def colors_under(sdata: Any) -> np.ndarray:
    return np.asarray(ps.tl.aggregate(sdata, "spots", raster_key="he", statistic="mean", inplace=False).X)


@pytest.mark.parametrize(
    ("picture", "scale"),
    [
        (None, 0.5),
        ("spatial/tissue_hires_image.png", 0.5),
        ("spatial/tissue_lowres_image.png", 0.25),
        ("section.tif", 1),
    ],
)
def test_the_scale_is_that_of_the_picture(
    truth: vendor_folders.Truth, visium: ad.AnnData, picture: str | None, scale: float
) -> None:
    sdata = ps.io.anndata(visium, None if picture is None else truth.folder / picture)
    assert ps.pp.mpp(sdata) == pytest.approx(truth.mpp / scale, rel=1e-6)
    assert sdata["spots"]["radius"].to_numpy() * ps.pp.mpp(sdata) == pytest.approx(27.5)
    table = sdata["spots_counts"]
    assert list(table.obs_names) == list(sdata["spots"].index) == truth.ids
    assert np.array_equal(table.X, truth.counts)
    assert np.array_equal(table.layers["counts"], truth.counts)
    assert np.array_equal(table.obsm["X_pca"], truth.colors)
    if scale >= 0.5:
        assert colors_under(sdata) == pytest.approx(truth.colors, abs=1e-3)


def test_a_table_and_a_picture_alone(truth: vendor_folders.Truth, visium: ad.AnnData) -> None:
    plain = ad.AnnData(visium.X, obs=pd.DataFrame(index=visium.obs_names), obsm={"xy": visium.obsm["spatial"]})
    pixels = tifffile.imread(truth.folder / "section.tif")
    sdata = ps.io.anndata(plain, pixels, mpp=2.5, spot_diameter_um=55, spatial_key="xy")
    assert colors_under(sdata) == pytest.approx(truth.colors, abs=1e-3)
    half = ps.io.anndata(plain, pixels[::2, ::2], mpp=5, spot_diameter_um=55, spatial_key="xy", scale=0.5)
    assert colors_under(half) == pytest.approx(truth.colors, abs=1e-3)


def test_of_several_slides_one_is_read(visium: ad.AnnData) -> None:
    both = ad.concat({"sample": visium, "other": visium}, label="library_id", index_unique="-")
    slides = visium.uns["spatial"]["sample"]
    both.uns["spatial"] = {"sample": slides, "other": slides}
    with pytest.raises(PixnetError, match="there are 2: 'sample', 'other'.*Pass library_id"):
        ps.io.anndata(both)
    both.obs[["array_row", "array_col"]] = 0
    sdata = ps.io.anndata(both, library_id="other", mpp=5.0)
    assert set(sdata["spots_counts"].obs["library_id"]) == {"other"}
    assert sdata["spots"]["radius"].to_numpy() * 5.0 == pytest.approx(32.5)


def test_a_given_scale_that_the_spots_contradict_warns(visium: ad.AnnData) -> None:
    with pytest.warns(PixnetWarning, match=r"4 by the argument mpp; 5 by the spots' pitch"):
        ps.io.anndata(visium, mpp=4.0)


def without(adata: ad.AnnData, *columns: str) -> ad.AnnData:
    found = adata.copy()
    found.obs = found.obs.drop(columns=list(columns))
    return found


WHITE = np.full((280, 240, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("change", "image", "options", "words"),
    [
        (lambda a: "x.h5ad", None, {}, "must be AnnData"),
        (lambda a: without(a, "array_row"), None, {}, "µm per pixel of .* unknown"),
        (lambda a: a, WHITE[:100], {}, r"100 x 240 px.*280 x 240.*pass scale=.*0.3571 by its height, 1 by its width"),
        (lambda a: a, WHITE / 255, {}, r"array \(y, x, 3\) of uint8; got .* of float64"),
        (lambda a: a, np.moveaxis(WHITE, 2, 0), {}, "np.moveaxis"),
        (lambda a: a, "nowhere.png", {}, "There is no image at"),
        (lambda a: a, None, {"spatial_key": "spatia"}, "Did you mean 'spatial'"),
        (lambda a: a, None, {"library_id": "sampel"}, "Did you mean 'sample'"),
        (lambda a: a, None, {"mpp": 500.0}, "outside 0.05 to 20"),
        (lambda a: a, None, {"spot_diameter_um": 0}, "spot_diameter_um must be a positive number; got 0"),
        (lambda a: a, None, {"scale": "2"}, "scale must be a positive number"),
        (lambda a: a[[0, 0]], None, {}, "obs_names_make_unique"),
        (
            lambda a: ad.AnnData(a.X, obsm={"spatial": a.obsm["spatial"]}),
            WHITE,
            {"mpp": 2.5},
            "How large the spots are",
        ),
        (lambda a: ad.AnnData(a.X, obsm={"spatial": a.obsm["spatial"]}), None, {}, "has no image"),
        (lambda a: ad.AnnData(a.X, obsm={"spatial": np.full((len(a), 2), np.nan)}), WHITE, {}, "are not finite"),
        (lambda a: ad.AnnData(a.X, obsm={"spatial": np.zeros((len(a), 3))}), WHITE, {}, "must hold numbers x and y"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    visium: ad.AnnData, change: Any, image: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(PixnetError, match=words):
        ps.io.anndata(change(visium), image, **options)


def test_anndata_in_place_of_spatialdata_is_told_the_way(visium: ad.AnnData) -> None:
    with pytest.raises(PixnetTypeError, match=r"pixnet_sd\.io\.anndata"):
        ps.pp.mpp(visium)


def test_objects_of_spatialdata_io_say_their_scale(truth: vendor_folders.Truth) -> None:
    readers = pytest.importorskip("spatialdata_io", reason="spatialdata-io is not installed")
    full = readers.visium(truth.folder, dataset_id="s", fullres_image_file=truth.folder / "section.tif")
    small = readers.visium(truth.folder, dataset_id="s")
    assert len(full.images) == 3
    assert ps.pp.mpp(full) == pytest.approx(truth.mpp, rel=1e-6)
    assert ps.pp.mpp(full, "s_lowres_image") == pytest.approx(4 * truth.mpp, rel=1e-6)
    assert ps.pp.mpp(small) == pytest.approx(2 * truth.mpp, rel=1e-6)
    with pytest.warns(PixnetWarning, match="2 by the argument mpp; 2.5 by the pitch of Visium's spots, 's'"):
        ps.pp.mpp(full, mpp=2.0)
    small["s"]["radius"] *= 2  # spots of another size are none of Visium
    with pytest.raises(PixnetError, match="is unknown"):
        ps.pp.mpp(small)
