"""Slides: pixels and levels as in the file, µm per pixel as the file states them, and never a guess."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import spatialdata as sd
import tifffile
from skimage.io import imsave

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError, PixnetWarning
from pixnet_sd._sdata import affine, images
from pixnet_sd.io._tiff import TiffLevel

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (301, 203, 3), dtype=np.uint8)
APERIO = "Aperio Image Library v11\r\n203x301 (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"


def pixels_of(sdata: sd.SpatialData, key: str = "he") -> np.ndarray:
    return affine.finest_array(sdata[key]).transpose("y", "x", "c").values


def test_pixels_and_the_scale_of_an_ome_tiff(tmp_path: Path) -> None:
    file = tmp_path / "slide.ome.tif"
    size = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 250.0, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(file, PIXELS, photometric="rgb", tile=(64, 64), metadata=size)
    sdata = ps.io.slide(file)
    assert ps.pp.mpp(sdata) == pytest.approx(0.25)
    assert ps.pp.mpp(sdata, coordinate_system="micrometers") == pytest.approx(0.25)
    assert np.array_equal(pixels_of(sdata), PIXELS)
    assert images.read_rgb(sdata, "he").channels == ("r", "g", "b")


def test_levels_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pyramid.tif"
    coarse = np.full((75, 50, 3), 7, np.uint8)  # not what means of the finest would give
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS, subifds=1, photometric="rgb", tile=(64, 64), resolution=(2e4, 2e4), resolutionunit=3)
        writer.write(coarse, subfiletype=1, photometric="rgb", tile=(64, 64))
    sdata = ps.io.slide(file)
    image = images.read_image(sdata, "he")
    assert [level.grid.step for level in image.levels] == [(1.0, 1.0), (4.0, 4.0)]
    assert (image.levels[1].data.compute() == 7).all()
    assert ps.pp.mpp(sdata) == ps.pp.mpp(sdata, coordinate_system="micrometers") == pytest.approx(0.5)
    centers = sdata["he"]["scale1"]["image"].coords["x"].values
    assert centers[[0, -1]] == pytest.approx([203 / 50 / 2, 203 - 203 / 50 / 2])
    sdata.write(tmp_path / "slide.zarr")
    again = sd.read_zarr(tmp_path / "slide.zarr")
    assert ps.pp.mpp(again) == pytest.approx(0.5)
    assert np.array_equal(pixels_of(again), PIXELS)


def test_the_largest_image_is_the_slide(tmp_path: Path) -> None:
    file = tmp_path / "label_first.tif"
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS[:90, :60], photometric="rgb", metadata=None)
        writer.write(PIXELS, photometric="rgb", tile=(64, 64), metadata=None)
    assert np.array_equal(pixels_of(ps.io.slide(file, mpp=0.5)), PIXELS)


def test_aperio_states_the_scale(tmp_path: Path) -> None:
    file = tmp_path / "slide.svs"
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS, photometric="rgb", tile=(64, 64), description=APERIO, metadata=None)
        writer.write(PIXELS[:90, :60], photometric="rgb", description="Aperio Image Library\r\nlabel", metadata=None)
    sdata = ps.io.slide(file, image_key="tumour")
    assert np.array_equal(pixels_of(sdata, "tumour"), PIXELS)
    assert ps.pp.mpp(sdata) == pytest.approx(0.499)


def test_without_a_statement_the_user_must_know(tmp_path: Path) -> None:
    bare, screen = tmp_path / "bare.png", tmp_path / "screen.tif"
    imsave(bare, PIXELS)
    tifffile.imwrite(screen, PIXELS, photometric="rgb", resolution=(72, 72), resolutionunit=2)
    with pytest.raises(PixnetValueError, match="the file says nothing. Pass mpp"):
        ps.io.slide(bare)
    with pytest.raises(PixnetValueError, match=r"says 352\.8 by the file's resolution tags"):
        ps.io.slide(screen)
    assert np.array_equal(pixels_of(ps.io.slide(bare, mpp=0.7)), PIXELS)
    assert ps.pp.mpp(ps.io.slide(screen, mpp=0.7)) == 0.7


def test_what_the_user_says_counts_and_a_difference_warns(tmp_path: Path) -> None:
    file = tmp_path / "slide.svs"
    tifffile.imwrite(file, PIXELS, photometric="rgb", description=APERIO, metadata=None)
    with pytest.warns(PixnetWarning, match=r"0\.25 by the argument mpp; 0\.499 by the file's Aperio"):
        assert ps.pp.mpp(ps.io.slide(file, mpp=0.25)) == 0.25
    with pytest.raises(PixnetValueError, match="outside 0.05 to 20"):
        ps.io.slide(file, mpp=250)


def test_planes_strips_alpha_and_gray(tmp_path: Path) -> None:
    planes, gray, alpha = (tmp_path / f"{name}.tif" for name in ("planes", "gray", "alpha"))
    tifffile.imwrite(planes, np.moveaxis(PIXELS, 2, 0), photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(gray, PIXELS[..., 0], photometric="minisblack", rowsperstrip=16)
    tifffile.imwrite(alpha, np.dstack([PIXELS, PIXELS[..., :1]]), photometric="rgb", extrasamples=["unassalpha"])
    names = {}
    for file in (planes, gray, alpha):
        sdata = ps.io.slide(file, mpp=1)
        names[file.stem] = images.read_image(sdata, "he").channels
        assert np.array_equal(pixels_of(sdata)[..., 0], PIXELS[..., 0])
    assert names == {"planes": ("0", "1", "2"), "gray": ("0",), "alpha": ("r", "g", "b", "a")}


def test_a_level_travels_between_processes(tmp_path: Path) -> None:
    file = tmp_path / "slide.tif"
    tifffile.imwrite(file, PIXELS, photometric="rgb", tile=(64, 64))
    level = TiffLevel(str(file), 0, 0)
    assert np.array_equal(level[5:9, 3:8], PIXELS[5:9, 3:8])
    again = pickle.loads(pickle.dumps(level))
    assert "pixels" not in vars(again)
    assert np.array_equal(again[5:9, 3:8], PIXELS[5:9, 3:8])


def test_pixels_stay_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    file = tmp_path / "wide.tif"
    tifffile.imwrite(file, shape=(3000, 2500, 3), dtype=np.uint8, photometric="rgb", rowsperstrip=64)
    data = images.read_image(ps.io.slide(file, mpp=1), "he").data
    assert max(data.chunksize) <= 2048
    assert data[:, :4, :4].compute().shape == (3, 4, 4)


def test_what_is_no_slide_is_refused(tmp_path: Path) -> None:
    text, stack, oblong = (tmp_path / name for name in ("slide.txt", "stack.tif", "oblong.ome.tif"))
    text.write_text("not an image")
    tifffile.imwrite(stack, np.zeros((5, 32, 32), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(oblong, PIXELS, photometric="rgb", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0})
    for file, message in (
        (tmp_path / "none.svs", "There is no image"),
        (text, "no TIFF, PNG or JPEG"),
        (stack, "one axis of channels"),
        (oblong, r"0\.5 x 1 µm"),
    ):
        with pytest.raises(PixnetValueError, match=message):
            ps.io.slide(file)


def test_real_slides(real_data: Path) -> None:
    folder = real_data / "wsi_he"
    for name, shape, mpp in (
        ("CMU-1-Small-Region.svs", (2967, 2220), 0.499),
        ("instanseg_HE_example.tif", (1484, 1380), 0.5),
    ):
        sdata = ps.io.slide(folder / name)
        image = images.read_rgb(sdata, "he")
        assert image.grid.shape == shape
        assert ps.pp.mpp(sdata) == pytest.approx(mpp, rel=2e-3)
        window = image.data[:, 700:900, 600:800].compute()
        reference = tifffile.imread(folder / name, key=0)[700:900, 600:800]
        assert np.array_equal(np.moveaxis(window, 0, -1), reference)
