"""Results are attached whole or not at all, and nothing that was there is lost."""

import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
import zarr
from files import digests
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd._sdata.storage import attach, locks, places

SYSTEMS = build.make_transformations(
    {"global": np.eye(3), "um": np.array([[0.5, 0.1, 3.0], [-0.1, 0.5, 4.0], [0, 0, 1]])}
)
IMAGE = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(3, 20, 30)


@pytest.fixture
def backed(tmp_path: Path) -> SpatialData:
    spots = build.make_circles(np.array([[5.0, 5.0], [15.0, 9.0]]), 3.0, pd.Index(["a", "b"]), SYSTEMS)
    build.make_section({"he": build.make_image(IMAGE, "rgb", SYSTEMS), "spots": spots}, {}, {"he": 0.5}).write(
        tmp_path / "s.zarr"
    )
    return sd.read_zarr(tmp_path / "s.zarr")


def results(sdata: SpatialData, value: float) -> dict:
    grid = PixelGrid(20, 30).coarsened(4)
    raster = np.full((2, *grid.shape), value, np.float32)
    raster[:, 0, 0] = np.nan
    values = np.full((2, 1), value)
    return {
        "map": build.make_image(raster, ["p0", "p1"], affine.grid_transformations(sdata["he"], grid)),
        "mask": build.make_labels(np.ones(grid.shape, np.uint8), affine.grid_transformations(sdata["he"], grid)),
        "result": build.make_table(values, pd.DataFrame(index=["G"]), "spots", sdata["spots"].index),
    }


FACTS: dict = {"map": {"unit": "counts/um2"}, "mask": {}, "result": {"statistic": "sum"}}


def test_round_trip_keeps_rasters_tables_transforms_and_provenance(backed: SpatialData) -> None:
    attach.attach(backed, results(backed, 2.0), FACTS, overwrite=False)
    again = sd.read_zarr(str(backed.path))
    expected = results(backed, 2.0)
    np.testing.assert_array_equal(again["map"].values, expected["map"].values)
    np.testing.assert_array_equal(again["mask"].values, expected["mask"].values)
    np.testing.assert_array_equal(again["result"].X, [[2.0], [2.0]])
    for name, wanted in affine.get_transformations(expected["map"]).items():
        found = affine.get_transformations(again["map"])[name]
        np.testing.assert_allclose(affine.to_matrix(found), affine.to_matrix(wanted), atol=1e-12)
    assert (get_record(again, "map") or {})["unit"] == "counts/um2"
    assert again["result"].uns["spatialdata_attrs"]["region"] == "spots"


@pytest.mark.parametrize("in_store", [True, False])
def test_nothing_is_said_of_tables_that_come_before_what_they_annotate(backed: SpatialData, in_store: bool) -> None:
    sdata = backed if in_store else SpatialData.init_from_elements({name: backed[name] for name in ("he", "spots")})
    raster = results(sdata, 2.0)["map"]
    table = build.make_loadings(np.eye(2), ["p0", "p1"], pd.DataFrame(index=["A", "B"]), "map")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        attach.attach(sdata, {"loadings": table, "map": raster}, {"loadings": {}, "map": {}}, overwrite=False)
        attach.attach(sdata, {"loadings": table}, {"loadings": {}}, overwrite=True)


def test_elements_that_were_there_keep_their_bytes(backed: SpatialData) -> None:
    folder = Path(str(backed.path))
    before = {name: digests(folder / name) for name in ("images/he", "shapes/spots")}
    attach.attach(backed, results(backed, 2.0), FACTS, overwrite=False)
    attach.attach(backed, results(backed, 3.0), FACTS, overwrite=True)
    assert {name: digests(folder / name) for name in before} == before
    assert float(sd.read_zarr(folder)["map"].max()) == float(backed["map"].max()) == 3.0
    assert [path.name for path in folder.parent.iterdir()] == ["s.zarr"]


def test_a_name_that_is_taken_stops_everything_before_the_first_write(backed: SpatialData) -> None:
    before = digests(Path(str(backed.path)))
    with pytest.raises(PixnetKeyError, match="replace 'he', which is not recorded as a result"):
        attach.attach(backed, {**results(backed, 1.0), "he": backed["he"]}, FACTS, overwrite=False)
    assert digests(Path(str(backed.path))) == before
    assert "map" not in backed


def test_a_write_that_fails_half_way_leaves_the_store_as_it_was(
    backed: SpatialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(Path(str(backed.path)))

    def full_disk(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpatialData, "write", full_disk)
    with pytest.raises(PixnetRuntimeError, match="no more room.*No space.*Make room"):
        attach.attach(backed, results(backed, 1.0), FACTS, overwrite=False)
    monkeypatch.undo()
    assert digests(Path(str(backed.path))) == before
    assert "map" not in backed
    assert "map" not in sd.read_zarr(str(backed.path))


def test_an_unrelated_write_afterwards_leaves_the_store_readable(backed: SpatialData) -> None:
    attach.attach(backed, results(backed, 2.0), FACTS, overwrite=False)
    backed["other"] = build.make_labels(np.ones((4, 4), np.uint8), SYSTEMS)
    backed.write_element("other")
    assert {"he", "map", "mask", "other"} <= attach.element_names(sd.read_zarr(str(backed.path)))


def test_a_store_that_cannot_be_written_is_refused_before_the_work(
    backed: SpatialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PixnetRuntimeError, match="cannot be written"):
        attach.check_results(backed, {"map": "images"}, overwrite=False)


def test_in_memory(backed: SpatialData) -> None:
    sdata = build.make_section({"he": build.make_image(IMAGE, "rgb", SYSTEMS), "spots": backed["spots"]}, {}, {})
    attach.attach(sdata, results(sdata, 2.0), FACTS, overwrite=False)
    attach.attach(sdata, results(sdata, 4.0), FACTS, overwrite=True)
    assert float(sdata["map"].max()) == 4.0
    assert get_record(sdata, "result") is not None


def test_exchange_swaps_two_directories(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if attach.exchange_folders(tmp_path / "one", tmp_path / "other"):
        assert (tmp_path / "one" / "other").exists()
        assert (tmp_path / "other" / "one").exists()


def test_two_objects_of_one_store_keep_each_others_results(backed: SpatialData) -> None:
    """As two notebooks do: each was opened before the other one wrote."""
    path = str(backed.path)
    first, second = sd.read_zarr(path), sd.read_zarr(path)
    for sdata, name in ((first, "one"), (second, "two"), (first, "three")):
        sdata.attrs["told"] = name  # what a user puts there is the user's to write
        attach.attach(sdata, {name: mask()}, {name: {"kind": name}}, overwrite=False)
    again = sd.read_zarr(path)
    assert {"one", "two", "three"} <= set(again.labels)
    assert [(get_record(again, name) or {})["kind"] for name in ("one", "two", "three")] == ["one", "two", "three"]
    assert "told" not in again.attrs


def test_a_name_that_was_taken_during_the_work_is_refused(backed: SpatialData, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(backed.path)
    late = sd.read_zarr(path)
    attach.attach(backed, {"one": mask()}, {"one": {}}, overwrite=False)
    monkeypatch.setattr(attach, "check_results", lambda *_, **__: None)
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        attach.attach(late, {"one": mask(2)}, {"one": {}}, overwrite=False)
    np.testing.assert_array_equal(sd.read_zarr(path)["one"].values, mask().values)


def test_what_a_killed_process_left_beside_the_store_goes(backed: SpatialData) -> None:
    """But neither what another process is writing, nor an element that was being replaced."""
    parent = Path(str(backed.path)).parent
    left, busy, precious = (
        parent / f".{Path(str(backed.path)).name}.staging-{socket.gethostname()}-{name}" for name in "abc"
    )
    (left / "staged.zarr").mkdir(parents=True)
    busy.mkdir()
    (precious / f"{attach.REPLACED}mask").mkdir(parents=True)
    with locks.store_lock(busy):
        attach.attach(backed, {"one": mask()}, {"one": {}}, overwrite=False)
    assert [path.exists() for path in (left, busy, precious)] == [False, True, True]


def mask(value: int = 1) -> Any:
    return build.make_labels(np.full((4, 4), value, np.uint8), SYSTEMS)


def test_a_name_that_differs_only_in_case_is_refused(backed: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match="'HE' would be beside 'he'"):
        attach.attach(backed, {"HE": mask()}, {"HE": {}}, overwrite=True)
    assert "HE" not in backed


def test_a_store_of_an_older_format_is_refused_before_the_work(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2)
    with pytest.raises(PixnetRuntimeError, match="zarr format 2.*Write it anew"):
        places.check_writable(tmp_path / "old.zarr")


@pytest.mark.parametrize("stopped", [False, True])
def test_where_folders_cannot_be_swapped_the_old_one_stays_until_the_new_one_is_there(
    backed: SpatialData, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """Other systems than Linux; and Ctrl-C between the two renames."""
    attach.attach(backed, {"one": mask()}, {"one": {}}, overwrite=False)
    final, rename = Path(str(backed.path)) / "labels" / "one", Path.rename

    def stop(path: Path, target: Path) -> Path:
        if stopped and Path(target) == final and path.parent.parent.name == "staged.zarr":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(attach, "exchange_folders", lambda *_: False)
    monkeypatch.setattr(Path, "rename", stop)
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            attach.attach(backed, {"one": mask(2)}, {"one": {}}, overwrite=True)
    else:
        attach.attach(backed, {"one": mask(2)}, {"one": {}}, overwrite=True)
    np.testing.assert_array_equal(sd.read_zarr(str(backed.path))["one"].values, 1 if stopped else 2)
    assert [path.name for path in final.parents[2].iterdir()] == ["s.zarr"]
