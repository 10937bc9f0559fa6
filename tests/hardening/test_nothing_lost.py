"""Whatever is written into a store, it opens afterwards, and what others wrote there is there."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
from hardening.slides import aggregate, measured, picture, predict, section, squares, tiny_model
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetKeyError, PixnetRuntimeError, PixnetValueError, PixnetWarning
from pixnet_sd._sdata import build
from pixnet_sd._sdata.affine import get_transformations
from pixnet_sd._sdata.storage import growing

pytestmark = pytest.mark.filterwarnings("ignore:No tissue was found:pixnet_sd._errors.PixnetWarning")
Call = Callable[..., Any]
WRITES: dict[str, Call] = {
    "predict": lambda sdata, name, **how: predict(sdata, "he", image_key_added=name, **how),
    "predict_shapes": lambda sdata, name, **how: ps.tl.predict_shapes(
        sdata, "cells", image_key="he", key_added=name, **{"model": tiny_model(), "device": "cpu", **how}
    ),
    "aggregate": lambda sdata, name, **how: aggregate(
        sdata, "cells", raster_key="he", key_added=name, inplace=True, **without_model(how)
    ),
    "bins": lambda sdata, name, **how: ps.pp.bins(sdata, 4, image_key="he", key_added=name, **without_model(how)),
    "tissue": lambda sdata, name, **how: ps.pp.tissue(sdata, "he", key_added=name, **without_model(how)),
    "expand": lambda sdata, name, **how: ps.tl.expand(
        sdata, ["VIM"], raster_key="map_programs", key_added=name, **without_model(how)
    ),
}
"""Every call that adds a result, under a name."""
OF_ANOTHER_KIND = {"predict": "cells", "expand": "cells", "predict_shapes": "he", "aggregate": "he"} | {
    "bins": "he",
    "tissue": "cells",
}
OF_ITS_KIND = {"predict": "other", "expand": "other", "predict_shapes": "counts", "aggregate": "counts"} | {
    "bins": "cells",
    "tissue": "mask",
}


def without_model(how: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in how.items() if name != "model"}


def with_map() -> SpatialData:
    """A section with elements of every kind that others made, and a map of ours."""
    sdata = measured()
    sdata["other"] = picture()
    sdata["mask"] = build.make_labels(np.ones((4, 4), np.uint8), get_transformations(sdata["he"]))
    predict(sdata, "he", image_key_added="map")
    del sdata["map"]
    return sdata


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "s.zarr"
    with_map().write(path)
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "s.zarr"))


@pytest.fixture(params=["memory", "store"])
def sdata(request: pytest.FixtureRequest) -> SpatialData:
    return with_map() if request.param == "memory" else sd.read_zarr(request.getfixturevalue("path"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def counting() -> tuple[Any, list[int]]:
    """A model, and a list that grows with every batch it computes."""
    model, runs = tiny_model(), []
    model.network.register_forward_hook(lambda *_: runs.append(1))
    return model, runs


def leave_half_an_element(path: Path) -> None:
    """As spatialdata does where its write is interrupted."""

    def stop(block: np.ndarray) -> np.ndarray:
        if block.any():
            raise KeyboardInterrupt
        return block

    other = sd.read_zarr(path)
    lazy = da.ones((3, 64, 64), chunks=(3, 32, 32), dtype="u1")
    other["half"] = picture(lazy.map_blocks(stop, dtype="u1", meta=np.empty((0, 0, 0), "u1")))
    with pytest.raises(KeyboardInterrupt):
        other.write_element("half")


@pytest.mark.parametrize("call", WRITES)
def test_a_store_opens_after_any_call_though_another_program_left_half_an_element(path: Path, call: str) -> None:
    leave_half_an_element(path)
    sdata = sd.read_zarr(path)
    with pytest.warns(PixnetWarning, match="holds images/half, which its metadata do not name"):
        WRITES[call](sdata, "new")
    ps.pp.mpp(sdata, "he", mpp=0.5)
    again = sd.read_zarr(path)
    assert "half" not in again
    assert ("new_programs" if call == "predict" else "new") in ({"new"} if call == "expand" else again)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_somebody_else_wrote_while_a_map_was_made_stays_and_so_does_the_work(path: Path, overwrite: bool) -> None:
    sdata, (model, runs) = sd.read_zarr(path), counting()

    def somebody_else(*_: object) -> None:
        if len(runs) == 1:
            other = sd.read_zarr(path)
            other["he_programs"] = picture(np.full((3, 8, 8), 42, np.uint8))
            other.write_element("he_programs")

    model.network.register_forward_hook(somebody_else)
    with pytest.raises(PixnetKeyError, match="replace 'he_programs', which is not recorded as a result"):
        predict(sdata, "he", model=model, tile_size=32, overwrite=overwrite)
    assert (sd.read_zarr(path)["he_programs"].values == 42).all()
    sdata.delete_element_from_disk("he_programs")
    done = len(runs)
    predict(sdata, "he", model=model, tile_size=32, overwrite=overwrite)
    assert len(runs) == done
    undisturbed = section()
    predict(undisturbed, "he", tile_size=32)
    np.testing.assert_array_equal(sd.read_zarr(path)["he_programs"].values, undisturbed["he_programs"].values)


@pytest.mark.parametrize("call", WRITES)
def test_nothing_that_others_made_is_replaced_whatever_may_be_overwritten(sdata: SpatialData, call: str) -> None:
    model, runs = counting()
    before = {name: id(element) for _, name, element in sdata.gen_elements()}
    with pytest.raises(PixnetKeyError, match=f"'{OF_ITS_KIND[call]}', which is not recorded as a result"):
        WRITES[call](sdata, OF_ITS_KIND[call], model=model, overwrite=True)
    assert {name: id(element) for _, name, element in sdata.gen_elements()} == before
    assert not runs


@pytest.mark.parametrize("call", WRITES)
def test_a_name_of_another_kind_is_refused_before_the_work(sdata: SpatialData, call: str) -> None:
    model, runs = counting()
    before = {name: id(element) for _, name, element in sdata.gen_elements()}
    with pytest.raises(PixnetKeyError, match="would be among the"):
        WRITES[call](sdata, OF_ANOTHER_KIND[call], model=model, overwrite=True)
    assert {name: id(element) for _, name, element in sdata.gen_elements()} == before
    assert not runs


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("name", ["zarr.json", "Zarr.json", "x" * 300, "ä" * 130])
def test_a_name_that_no_store_can_have_is_refused_before_the_work(sdata: SpatialData, call: str, name: str) -> None:
    model, runs = counting()
    with pytest.raises(PixnetValueError, match="cannot be called"):
        WRITES[call](sdata, name, model=model)
    assert not runs


def test_a_name_that_leaves_no_room_for_what_is_written_beside_the_store_is_refused(path: Path) -> None:
    model, runs = counting()
    with pytest.raises(PixnetValueError, match="too long for the file system"):
        predict(sd.read_zarr(path), "he", model=model, image_key_added="x" * 235)
    assert not runs
    assert [one.name for one in path.parent.iterdir()] == ["s.zarr"]


def test_two_tables_of_one_name_are_refused_before_the_work(sdata: SpatialData) -> None:
    ps.pp.bins(sdata, 4, image_key="he")
    model, runs = counting()
    with pytest.raises(PixnetValueError, match="a name of its own"):
        names = {"cells": "t", "bins_4um": "t"}
        ps.tl.predict_shapes(sdata, list(names), image_key="he", model=model, device="cpu", key_added=names)
    assert not runs


def numbered(index: pd.Index) -> Any:
    frame = squares()
    frame.index = index
    return frame


@pytest.mark.parametrize(
    "index",
    [pd.Index([1, 2], dtype=kind) for kind in ("uint8", "int8", "uint16", "int64", object)]
    + [pd.Index(["b", "a"]), pd.Index(["b", "a"], dtype="string"), pd.CategoricalIndex(["b", "a"])],
    ids=lambda index: f"{type(index).__name__}-{index.dtype}",
)
def test_ids_of_any_kind_that_spatialdata_can_hold_find_their_shapes(index: pd.Index, tmp_path: Path) -> None:
    section(cells=numbered(index)).write(tmp_path / "s.zarr")
    sdata = section(cells=numbered(index))
    ps.tl.predict_shapes(sdata, "cells", model=tiny_model(), device="cpu")
    stored = sd.read_zarr(tmp_path / "s.zarr")
    ps.tl.predict_shapes(stored, "cells", model=tiny_model(), device="cpu")
    for one in (sdata, stored, sd.read_zarr(tmp_path / "s.zarr")):
        assert one["cells_expression"].obs["instance_id"].tolist() == index.tolist()
        frame, table = sd.join_spatialelement_table(
            sdata=one, spatial_element_names="cells", table_name="cells_expression", how="inner"
        )
        assert frame["cells"].index.tolist() == table.obs["instance_id"].tolist() == index.tolist()


@pytest.mark.parametrize("ids", [[1, "a"], [1, 2.5], [(1, 2), "a"], [2**70, 1]])
def test_ids_that_spatialdata_cannot_hold_are_refused_before_the_work(ids: list[Any]) -> None:
    model, runs = counting()
    sdata = section(cells=numbered(pd.Index(ids, dtype=object, tupleize_cols=False)))
    for call in (lambda: ps.tl.predict_shapes(sdata, "cells", model=model, device="cpu"), lambda: aggregate(sdata)):
        with pytest.raises(PixnetValueError, match="whole numbers or strings"):
            call()
    assert not runs


def test_a_store_behind_a_link_is_written_where_it_lies(path: Path, elsewhere: Path) -> None:
    real = Path(shutil.move(path, elsewhere / "real.zarr"))
    path.symlink_to(real)
    sdata = sd.read_zarr(path)
    predict(sdata, "he")
    aggregate(sdata, "cells", raster_key="he_programs", inplace=True)
    assert {"he_programs", "cells_expression"} <= {name for _, name, _ in sd.read_zarr(real).gen_elements()}
    assert [one.name for one in real.parent.iterdir()] == ["real.zarr"]
    assert [one.name for one in path.parent.iterdir()] == ["s.zarr"]


def test_a_store_and_a_link_to_it_are_one(path: Path) -> None:
    (path.parent / "link.zarr").symlink_to(path)
    sdata, link = sd.read_zarr(path), sd.read_zarr(path.parent / "link.zarr")
    assert growing.partial_folder(sdata, "x") == growing.partial_folder(link, "x")
    model, runs = counting()

    def meanwhile(*_: object) -> None:
        if len(runs) == 1:
            with pytest.raises(PixnetRuntimeError, match="Another process"):
                predict(link, "he", model=tiny_model(1))

    model.network.register_forward_hook(meanwhile)
    predict(sdata, "he", model=model)


def test_a_store_that_lies_on_two_file_systems_is_refused_before_the_work(path: Path, elsewhere: Path) -> None:
    shutil.move(path / "images", elsewhere / "images")
    (path / "images").symlink_to(elsewhere / "images")
    model, runs = counting()
    with pytest.raises(PixnetRuntimeError, match="takes no result.*one file system"):
        predict(sd.read_zarr(path), "he", model=model)
    assert not runs
    assert [one.name for one in path.parent.iterdir()] == ["s.zarr"]


def test_a_store_that_a_relative_path_does_not_reach_any_more_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels would be read as zeros."""
    monkeypatch.chdir(path.parent)
    sdata = sd.read_zarr(path.name)
    predict(sdata, "he")
    monkeypatch.chdir(os.sep)
    for inplace in (True, False):
        with pytest.raises(PixnetError, match="opened by the relative path 's.zarr'"):
            predict(sdata, "he", inplace=inplace, overwrite=True)
        with pytest.raises(PixnetError, match="opened by the relative path 's.zarr'"):
            aggregate(sdata, "cells", raster_key="he", inplace=inplace)


def test_adding_a_result_reads_no_other_table_and_no_other_shapes(path: Path) -> None:
    """They may be as large as memory; here nobody can read them any more."""
    sdata = sd.read_zarr(path)
    for file in [*(path / "tables" / "counts").rglob("c/*"), path / "shapes" / "cells" / "shapes.parquet"]:
        if file.is_file():
            file.write_bytes(b"no longer what it was")
    predict(sdata, "he")
    aggregate(sdata, "cells", raster_key="he", inplace=True)
    ps.pp.bins(sdata, 4, image_key="he")
    ps.pp.tissue(sdata, "he")
    assert {"cells_expression", "bins_4um", "he_tissue"} <= {name for _, name, _ in sdata.gen_elements()}
