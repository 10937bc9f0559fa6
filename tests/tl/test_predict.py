"""A predicted map: where it lies, what it holds, and that nothing is lost however its making ends."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
import tiny
import torch
from files import digests
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Image2DModel

import pixnet_sd as ps
from pixnet_sd._errors import (
    PixnetError,
    PixnetKeyError,
    PixnetRuntimeError,
    PixnetTypeError,
    PixnetValueError,
    PixnetWarning,
)
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, build, images, levels, maps
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd._sdata.storage import growing, locks, publish
from pixnet_sd.nn.model.model import Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.tl._predict import predict
from pixnet_sd.tl._prediction.plan import load_model
from pixnet_sd.tl._prediction.tiles import whole_batches

CONFIG = NetworkConfig(
    encoder="stain", widths=(8, 8, 8, 8), programs=3, context_um=(), mpp=0.5, stride=4, decoder="safb"
)
GENES = ["EPCAM", "VIM", "CD3E", "COL1A1"]
SIDE = 256


def tiny_model(seed: int = 0, **changes: Any) -> Model:
    return tiny.model(GENES, seed, scores={"VIM": 0.5}, **changes)


def run(sdata: SpatialData, **options) -> Any:
    options = {"model": tiny_model(), "tile_size": 128, "device": "cpu", "progress": False, **options}
    return predict(sdata, "he", **options)


@pytest.fixture(scope="module")
def slide() -> SpatialData:
    toy = ps.datasets.toy(size_px=SIDE)
    picture = toy["he"].values[:, : SIDE - 3, :]
    return build.make_section(
        {"he": build.make_image(picture, "rgb", affine.get_transformations(toy["he"]))}, {}, {"he": 0.5}
    )


@pytest.fixture
def memory(slide: SpatialData) -> SpatialData:
    return build.make_section({"he": slide["he"]}, {}, {"he": 0.5})


@pytest.fixture(scope="module")
def stored(slide: SpatialData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "s.zarr"
    slide.write(path)
    return path


@pytest.fixture
def backed(stored: Path, tmp_path: Path) -> SpatialData:
    shutil.copytree(stored, tmp_path / "s.zarr")
    return sd.read_zarr(tmp_path / "s.zarr")


@pytest.fixture(scope="module")
def reference(slide: SpatialData) -> SpatialData:
    sdata = build.make_section({"he": slide["he"]}, {}, {"he": 0.5})
    run(sdata)
    return sdata


def test_what_is_added_and_where_it_lies(reference: SpatialData) -> None:
    programs, expression = reference["he_programs"], reference["he_expression"]
    assert programs.shape == (3, 64, 64)
    assert expression.coords["c"].values.tolist() == GENES
    for element in (programs, expression):
        for name, onward in affine.get_transformations(reference["he"]).items():
            found = affine.to_matrix(affine.get_transformations(element)[name])
            np.testing.assert_allclose(found, affine.to_matrix(onward) @ np.diag([4.0, 4.0, 1.0]), rtol=1e-12)
    facts = get_record(reference, "he_programs") or {}
    assert (facts["unit"], facts["mpp"], facts["sha256"]) == ("counts/um2", 2.0, tiny_model().sha256)


def test_genes_are_programs_times_loadings(reference: SpatialData) -> None:
    table = reference["he_programs_loadings"]
    np.testing.assert_array_equal(table.var["score"], [np.nan, 0.5, np.nan, np.nan])
    expected = np.einsum("kyx,kg->gyx", reference["he_programs"].values, table.X)
    np.testing.assert_allclose(reference["he_expression"].values, expected, rtol=1e-5)
    assert maps.read_map(reference).genes == GENES
    assert maps.read_map(reference, "he_expression").loadings is not None


def test_a_part_that_spatialdata_cuts_out_has_its_part_of_the_map(reference: SpatialData) -> None:
    corners = {"min_coordinate": [64, 32], "max_coordinate": [192, 160]}
    part = sd.bounding_box_query(reference, axes=("x", "y"), target_coordinate_system="global", **corners)
    with pytest.raises(PixnetKeyError, match=r"part\['he_programs_loadings'\] = whole"):
        maps.read_map(part)
    part["he_programs_loadings"] = reference["he_programs_loadings"]
    found = maps.read_map(part).expanded().compute()
    np.testing.assert_allclose(found, reference["he_expression"].values[:, 8:40, 16:48], rtol=1e-6)


def test_programs_are_those_of_the_network_over_the_whole_picture(reference: SpatialData) -> None:
    model = tiny_model()
    image = np.full((1, 3, SIDE + 144, SIDE + 144), 255, np.uint8)
    image[0, :, 72 : 72 + SIDE - 3, 72 : 72 + SIDE] = reference["he"].values
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(image).float() / 255)[0, :, 18:-18, 18:-18]
    found = reference["he_programs"].values
    assert_close(found, whole)


@pytest.mark.parametrize("options", [{"tile_size": 64}, {"tile_size": 104, "batch_size": 4}])
def test_tiles_batches_and_chunks_do_not_matter(slide: SpatialData, reference: SpatialData, options: dict) -> None:
    chunked = slide["he"].chunk({"y": 70, "x": 101})
    sdata = build.make_section({"he": chunked}, {}, {"he": 0.5})
    run(sdata, **options)
    expected = reference["he_programs"].values
    assert_close(sdata["he_programs"].values, expected)


def test_a_store_gets_the_same_and_keeps_what_it_had(backed: SpatialData, reference: SpatialData) -> None:
    path = Path(str(backed.path))
    before = digests(path / "images" / "he")
    run(backed)
    np.testing.assert_array_equal(backed["he_expression"].values, reference["he_expression"].values)
    again = sd.read_zarr(path)
    np.testing.assert_array_equal(again["he_programs"].values, reference["he_programs"].values)
    assert "he_expression" not in again
    assert digests(path / "images" / "he") == before
    assert [one.name for one in path.parent.iterdir()] == ["s.zarr"]
    assert get_record(again, "he_programs") == get_record(reference, "he_programs")


def test_chosen_genes_are_plain_pixels_in_the_store(backed: SpatialData, reference: SpatialData) -> None:
    run(backed, genes=["CD3E", "EPCAM"])
    again = sd.read_zarr(str(backed.path))
    expected = reference["he_expression"].sel(c=["CD3E", "EPCAM"]).values
    np.testing.assert_allclose(again["he_expression"].values, expected, rtol=1e-6)
    assert maps.read_map(again, "he_expression").loadings is None
    run(backed, overwrite=True)
    assert "he_expression" not in sd.read_zarr(str(backed.path))
    assert backed["he_expression"].coords["c"].values.tolist() == GENES


def test_a_name_that_is_taken_is_refused_before_the_work(reference: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match=r"he_expression.*overwrite=True"):
        run(reference)
    other = run(reference, inplace=False, genes=["VIM"])
    np.testing.assert_allclose(other.values, reference["he_expression"].sel(c=["VIM"]).values, rtol=1e-6)


def test_outside_tissue_is_nan_and_tiles_without_any_are_not_computed(
    memory: SpatialData, reference: SpatialData
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[2:10, 3:9] = 7
    memory["he_tissue"] = build.make_labels(
        mask, affine.grid_transformations(memory["he"], PixelGrid(32, 32, (8.0, 8.0)))
    )
    model, runs = tiny_model(), []
    model.network.register_forward_hook(lambda *_: runs.append(1))
    run(memory, model=model, tile_size=64)
    tissue = np.kron(mask, np.ones((2, 2))) > 0
    found, expected = memory["he_programs"].values, reference["he_programs"].values
    assert np.isnan(found[:, ~tissue]).all()
    assert_close(found[:, tissue], expected[:, tissue])
    assert len(runs) == 4


def test_a_slide_without_tissue_gives_nan_and_one_warning(memory: SpatialData) -> None:
    empty = np.zeros((32, 32), np.uint8)
    memory["he_tissue"] = build.make_labels(
        empty, affine.grid_transformations(memory["he"], PixelGrid(32, 32, (8.0, 8.0)))
    )
    with pytest.warns(PixnetWarning, match="There is no tissue on image .* tissue_key=None"):
        run(memory)
    assert np.isnan(memory["he_programs"].values).all()


def test_an_image_of_another_resolution_is_resampled(memory: SpatialData) -> None:
    run(memory, model=tiny_model(mpp=0.7))
    scale = affine.to_matrix(affine.get_transformations(memory["he_programs"])["global"])
    np.testing.assert_allclose(scale, np.diag([5.6, 5.6, 1.0]), rtol=1e-12)
    assert memory["he_programs"].shape == (3, 46, 46)
    assert (get_record(memory, "he_programs") or {})["mpp"] == pytest.approx(2.8)


def test_an_image_too_coarse_for_the_model_is_refused(memory: SpatialData) -> None:
    with pytest.raises(PixnetValueError, match=r"0\.5 µm per pixel, the model reads 0\.25.*allow_upsample"):
        run(memory, model=tiny_model(mpp=0.25))
    run(memory, model=tiny_model(mpp=0.25), allow_upsample=True)
    assert memory["he_programs"].shape == (3, 127, 128)


def test_steps_are_snapped_only_where_nobody_could_tell() -> None:
    assert images.snap_step(1 + 1e-9, 20_000) == 1.0
    assert images.snap_step(1.001, 20_000) == 1.001


def test_coarser_levels_are_means_and_the_same_in_memory_and_in_a_store(
    backed: SpatialData, memory: SpatialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "PYRAMID_FROM_PX", 32)
    monkeypatch.setattr(build, "COARSEST_PX", 16)
    for sdata in (backed, memory):
        run(sdata)
    for key in ("he_programs", "he_expression"):
        pairs = [levels.arrays_of(sdata[key]) for sdata in (backed, memory)]
        assert [array.shape[1] for array in pairs[0]] == [64, 32, 16]
        for one, other in zip(*pairs, strict=True):
            np.testing.assert_allclose(one.compute(), other.compute(), rtol=1e-6)
        fine, coarse = pairs[1][0].compute(), pairs[1][1].compute()
        np.testing.assert_allclose(coarse, fine.reshape(len(fine), 32, 2, 32, 2).mean((2, 4)), rtol=1e-4)


@pytest.mark.parametrize("in_store", [True, False])
def test_coarser_levels_of_an_odd_map_lie_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_store: bool
) -> None:
    """As those that SpatialData makes."""
    monkeypatch.setattr(levels, "PYRAMID_FROM_PX", 32)
    monkeypatch.setattr(build, "COARSEST_PX", 16)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 268, 236)).astype(np.uint8)
    sdata = build.make_section(
        {"he": build.make_image(pixels, "rgb", build.make_transformations({"global": np.eye(3)}))}, {}, {"he": 0.5}
    )
    if in_store:
        sdata.write(tmp_path / "odd.zarr")
    run(sdata)
    found = levels.arrays_of(sdata["he_programs"])
    made = Image2DModel.parse(found[0].compute(), dims="cyx", scale_factors=[2] * (len(found) - 1))
    assert [array.shape[1:] for array in found[:3]] == [(67, 59), (33, 29), (16, 14)]
    for one, other in zip(found, levels.arrays_of(made), strict=True):
        np.testing.assert_allclose(one.compute(), other.compute(), rtol=1e-5)


@pytest.mark.parametrize("factors", [[2], [2, 2], [4]])
def test_a_pyramid_of_odd_size_changes_nothing_of_a_map(factors: list[int]) -> None:
    """Of a model whose pixels are those of a coarser level."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 267, 235)).astype(np.uint8)
    maps = []
    for scale_factors in (None, factors):
        element = Image2DModel.parse(pixels, dims="cyx", c_coords=list("rgb"), scale_factors=scale_factors)
        sdata = build.make_section({"he": element}, {}, {"he": 0.25})
        run(sdata, model=tiny_model(mpp=1.0))
        maps.append(sdata["he_programs"])
    plain, pyramid = maps
    np.testing.assert_array_equal(pyramid.values, plain.values)
    places = [affine.to_matrix(affine.get_transformations(one)["global"]) for one in maps]
    np.testing.assert_array_equal(places[1], places[0])


def test_too_many_genes_are_not_attached(memory: SpatialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps.settings, "raster_limit", 1000)
    run(memory)
    assert "he_programs" in memory
    assert "he_expression" not in memory


def test_a_disk_that_is_too_small_is_refused_with_both_numbers(
    backed: SpatialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(PixnetRuntimeError, match=r"up to 65,536 bytes, and 1,000 are free"):
        run(backed)


def test_something_else_than_a_model_is_refused() -> None:
    with pytest.raises(PixnetTypeError, match=r"must be a pixnet_sd\.Model"):
        load_model(tiny_model().network)  # type: ignore[arg-type]


class Stopped(BaseException):
    """Stands for Ctrl-C."""


def interrupt(sdata: SpatialData, after: int, **options) -> list[int]:
    """Stop when some tiles are written; how many runs the network had."""
    model, runs = tiny_model(), []

    def count(*_: object) -> None:
        runs.append(1)
        if len(runs) > after:
            raise Stopped

    model.network.register_forward_hook(count)
    with pytest.raises(Stopped):
        run(sdata, model=model, tile_size=64, **options)
    return runs


def test_an_interrupted_call_is_resumed_and_tiles_that_are_done_are_not_computed_again(
    backed: SpatialData, stored: Path, tmp_path: Path
) -> None:
    interrupt(backed, after=6, batch_size=2)
    assert "he_programs" not in sd.read_zarr(str(backed.path))
    model, runs = tiny_model(), []
    model.network.register_forward_hook(lambda *_: runs.append(1))
    run(backed, model=model, tile_size=64, batch_size=2)
    assert 2 <= len(runs) <= 4  # of eight batches, six or fewer were done
    shutil.copytree(stored, tmp_path / "other.zarr")
    undisturbed = sd.read_zarr(tmp_path / "other.zarr")
    run(undisturbed, tile_size=64, batch_size=2)
    assert digests(tmp_path / "other.zarr") == digests(tmp_path / "s.zarr")


def test_a_block_that_was_damaged_meanwhile_is_computed_again(backed: SpatialData, reference: SpatialData) -> None:
    interrupt(backed, after=6)
    chunk = next((growing.partial_folder(backed, "he_programs") / "staged.zarr").rglob("c/0/0/0"))
    chunk.unlink()
    run(backed, tile_size=64)
    expected = reference["he_programs"].values
    assert_close(backed["he_programs"].values, expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": tiny_model(seed=1)}, "sha256"),
        ({"augment": True}, "augment: False then, True now"),
        ({"tile_size": 128}, "tile_px: 64 then, 128 now"),
        ({"batch_size": 2}, "batch_size: 1 then, 2 now"),
    ],
)
def test_a_changed_model_or_parameter_does_not_resume_and_says_which(
    backed: SpatialData, change: dict, said: str
) -> None:
    interrupt(backed, after=1)
    with pytest.raises(PixnetValueError, match=said):
        run(backed, **{"tile_size": 64, **change})
    run(backed, **{"tile_size": 128, **change}, resume=False)
    assert "he_programs" in backed


def test_two_processes_on_one_result(backed: SpatialData) -> None:
    folder = growing.partial_folder(backed, "he_programs")
    folder.mkdir()
    with locks.exclusive(folder), pytest.raises(PixnetRuntimeError, match="Another process"):
        run(backed)


def test_batches_are_computed_whole() -> None:
    assert whole_batches({5}, 8, 3) == [3, 4, 5]
    assert whole_batches({7}, 8, 3) == [6, 7]
    assert whole_batches(set(), 8, 3) == []


def test_a_map_that_was_moved_but_not_recorded_is_no_image_to_predict_from(
    backed: SpatialData, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a full disk: the repeated call found two images and did not know which was meant."""
    options: Any = {"model": tiny_model(), "device": "cpu", "progress": False}
    with monkeypatch.context() as patch, pytest.raises(PixnetRuntimeError, match="no more room"):
        patch.setattr(publish, "open_moved", no_room)
        predict(backed, **options)
    path = Path(str(backed.path))
    assert (path / "images" / "he_programs").exists()
    predict(sd.read_zarr(path), **options)
    shutil.copytree(stored, tmp_path / "other.zarr")
    predict(sd.read_zarr(tmp_path / "other.zarr"), **options)
    assert digests(tmp_path / "other.zarr") == digests(path)


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_genes_may_be_an_index_in_a_store(backed: SpatialData) -> None:
    run(backed, genes=pd.Index(GENES)[[2, 0]])
    assert sd.read_zarr(backed.path)["he_expression"].coords["c"].values.tolist() == ["CD3E", "EPCAM"]


@pytest.mark.parametrize("genes", [[], "VIM", ["VIM", "VIM"]])
def test_genes_that_cannot_be_are_refused_before_a_model_is_read(memory: SpatialData, genes: Any) -> None:
    with pytest.raises(PixnetError, match="gene"):
        run(memory, model="no such model", genes=genes)


def test_um_per_pixel_that_differ_from_what_the_object_says_warn(memory: SpatialData) -> None:
    with pytest.warns(PixnetWarning, match=r"0\.4 by the argument mpp; 0\.5 by what pp\.mpp recorded.*first is used"):
        run(memory, mpp=0.4)
    run(memory, mpp=0.51, overwrite=True)
    assert (get_record(memory, "he_programs") or {})["mpp"] == pytest.approx(2.0, rel=0.03)
