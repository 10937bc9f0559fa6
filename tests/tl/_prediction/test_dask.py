"""Work that is shared gives the bytes of work that is not, and whatever fails can be taken up again."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import distributed
import numpy as np
import pytest
import spatialdata as sd
import tiny
from distributed import Client, LocalCluster
from files import digests
from hypothesis import given
from hypothesis import strategies as st
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError, PixnetValueError
from pixnet_sd._raster.grid import PixelGrid, Window, make_tiles
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.masks import Tissue
from pixnet_sd._sdata.storage import growing, locks, publish
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._predict import predict
from pixnet_sd.tl._prediction import dask, diagnostics, options
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.parts import group_tiles, split_parts

GENES = ["EPCAM", "VIM"]
FILE_PX = 32
"""Side of what one file holds: the raster of 64 pixels has four files, of four tiles each."""


def tiny_model(seed: int = 0) -> Model:
    return tiny.model(GENES, seed)


def run(sdata: SpatialData | list[SpatialData], **options) -> Any:
    return predict(
        sdata, "he", **{"model": tiny_model(), "tile_size": 64, "device": "cpu", "progress": False, **options}
    )


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "CHUNKS", (16, FILE_PX, FILE_PX))
    monkeypatch.setattr(dask, "PATIENCE_S", 1800)  # a worker may be slow where others keep the processor busy


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first tile has no tissue, so batches of two straddle tiles of the plan, not of the image."""
    toy = ps.datasets.toy(size_px=256)
    mask = np.ones((16, 16), np.uint8)
    mask[:4, :4] = 0
    slide = build.make_section({"he": toy["he"]}, {}, {"he": 0.5})
    slide["he_tissue"] = build.make_labels(
        mask, affine.grid_transformations(toy["he"], PixelGrid(16, 16, (16.0, 16.0)))
    )
    path = tmp_path_factory.mktemp("slide") / "s.zarr"
    slide.write(path)
    return path


@pytest.fixture
def path(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "s.zarr"))


@pytest.fixture
def expected(stored: Path, tmp_path: Path) -> dict[str, str]:
    """The bytes of a run in one go."""
    path = Path(shutil.copytree(stored, tmp_path / "undisturbed" / "s.zarr"))
    run(sd.read_zarr(path))
    return digests(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as found:
        yield found


class Stopped(BaseException):
    """Stands for Ctrl-C."""


def stopped_model(after: int) -> Model:
    """Stops the call in which it runs, when it has seen some tiles."""
    model, runs = tiny_model(), []

    def count(*_: object) -> None:
        runs.append(1)
        if len(runs) > after:
            raise Stopped

    model.network.register_forward_hook(count)
    return model


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(1, 9)
)
def test_parts_share_no_tile_no_batch_and_no_file(
    height: int, width: int, tile: int, file: int, batch: int, count: int
) -> None:
    windows = dict(enumerate(one.core for one in make_tiles(height, width, size=tile)))
    cut = split_parts(windows, (file, file), batch, count)
    assert len(cut) == count
    assert sorted(number for part in cut for number in part) == list(windows)
    batches = [{number // batch for number in part} for part in cut]
    files = [{pixel for number in part for pixel in files_of(windows[number], file)} for part in cut]
    for sets in (batches, files):
        assert sum(map(len, sets)) == len(set().union(*sets))


def files_of(window: Window, file: int) -> set[tuple[int, int]]:
    return {(y // file, x // file) for y in range(window.y0, window.y1) for x in range(window.x0, window.x1)}


def test_parts_of_aligned_tiles_are_equally_long_and_in_order() -> None:
    windows = dict(enumerate(tile.core for tile in make_tiles(100, 100, size=10)))
    cut = split_parts(windows, (10, 10), 1, 8)
    assert {len(part) for part in cut} == {12, 13}
    assert [number for part in cut for number in part] == list(range(100))
    assert split_parts({}, (10, 10), 1, 2) == [[], []]
    assert group_tiles(windows, (11, 11), 1) == [list(range(100))]


def test_workers_write_the_bytes_of_one_process(
    path: Path, expected: dict[str, str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "delete_partial", lambda raster: None)
    run(sd.read_zarr(path))
    assert digests(path) == expected
    ledgers = sorted((path.parent / ".s.zarr+he_programs.partial").glob("ledger-*.jsonl"))
    assert [ledger.name for ledger in ledgers] == ["ledger-worker-0.jsonl", "ledger-worker-1.jsonl"]
    assert sum(len(ledger.read_text().splitlines()) - 1 for ledger in ledgers) == 15


def test_what_a_killed_worker_was_writing_does_not_reach_the_store(
    path: Path, expected: dict[str, str], cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(futures: list, growing: growing.PartialRaster, *others: Any) -> None:
        undisturbed(futures, growing, *others)
        (growing.element / "0.1234.partial").touch()

    undisturbed = dask.wait_for_workers
    monkeypatch.setattr(dask, "wait_for_workers", wait)
    with Client(cluster):
        run(sd.read_zarr(path))
    assert digests(path) == expected


def test_workers_take_up_what_one_process_left(path: Path, expected: dict[str, str], cluster: LocalCluster) -> None:
    with pytest.raises(Stopped):
        run(sd.read_zarr(path), model=stopped_model(after=5))
    with Client(cluster):
        run(sd.read_zarr(path))
    assert digests(path) == expected


def test_one_process_takes_up_what_workers_left(
    path: Path, expected: dict[str, str], cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(dask, "wait_for_workers", stop)
    with Client(cluster), pytest.raises(Stopped):
        run(sd.read_zarr(path))
    assert "he_programs" not in sd.read_zarr(path)
    run(sd.read_zarr(path))
    assert digests(path) == expected


def test_an_image_that_is_not_the_one_on_disk_is_noticed(path: Path, client: Client) -> None:
    sdata = sd.read_zarr(path)
    changed = 255 - sdata["he"].values
    sdata.images["he"] = build.make_image(changed, "rgb", affine.get_transformations(sdata["he"]))
    with pytest.raises(PixnetRuntimeError, match=r"is not the one in its store.*\d of \d tiles .* differ"):
        run(sdata)
    assert "he_programs" not in sd.read_zarr(path)


def test_an_image_that_is_in_memory_only_is_computed_here(path: Path, client: Client) -> None:
    sdata = sd.read_zarr(path)
    sdata["other"] = sdata["he"]
    predict(sdata, "other", model=tiny_model(), mpp=0.5, device="cpu", tile_size=64, progress=False)
    assert sdata["other_programs"].shape == (3, 64, 64)


def test_shards_write_the_bytes_of_one_process(path: Path, expected: dict[str, str]) -> None:
    for number in (3, 1):
        shard(path, number)
    with pytest.raises(PixnetRuntimeError, match=r"of 15 tiles of 'he_programs' are missing, of shards 2/3\."):
        ps.tl.finish(sd.read_zarr(path))
    assert "he_programs" not in sd.read_zarr(path)
    shard(path, 2)
    assert ps.tl.finish(sd.read_zarr(path)) == ["he_programs"]
    assert digests(path) == expected
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []


def shard(path: Path, number: int, **options: Any) -> int:
    given: dict[str, Any] = {
        "model": tiny_model(),
        "shards": 3,
        "device": "cpu",
        "tile_size": 64,
        "progress": False,
        **options,
    }
    return ps.tl.predict_shard(sd.read_zarr(path), "he", number=number, **given)


def test_a_shard_is_resumed_and_does_nothing_twice(path: Path, expected: dict[str, str]) -> None:
    with pytest.raises(Stopped):
        shard(path, 1, model=stopped_model(after=1))
    shard(path, 1)
    assert shard(path, 1, model=stopped_model(after=0)) in (3, 4)
    for number in (2, 3):
        shard(path, number)
    ps.tl.finish(sd.read_zarr(path))
    assert digests(path) == expected


def test_shards_of_different_predictions_do_not_mix(path: Path) -> None:
    shard(path, 1)
    with pytest.raises(PixnetValueError, match="sha256"):
        shard(path, 2, model=tiny_model(seed=1))
    with pytest.raises(PixnetValueError, match="shards: 3 then, 4 now"):
        shard(path, 4, shards=4)
    with pytest.raises(PixnetValueError, match="shards: 3 then, None now"):
        run(sd.read_zarr(path))
    with pytest.raises(PixnetValueError, match="no shard 4 of 3"):
        shard(path, 4)


def test_a_shard_that_runs_is_not_disturbed(path: Path) -> None:
    shard(path, 1)
    sdata = sd.read_zarr(path)
    folder = growing.partial_folder(sdata, "he_programs")
    with locks.part_lock(folder, "1-of-3", driven=False):
        shard(path, 2)
        for call in (lambda: shard(path, 1), lambda: ps.tl.finish(sdata), lambda: run(sdata, resume=False)):
            with pytest.raises(PixnetRuntimeError, match="Another process"):
                call()


def test_there_is_nothing_to_finish_and_nothing_to_repeat(path: Path) -> None:
    with pytest.raises(PixnetValueError, match="nothing to finish"):
        ps.tl.finish(sd.read_zarr(path))
    run(sd.read_zarr(path))
    with pytest.raises(PixnetKeyError, match="overwrite=True"):
        shard(path, 1)
    for number in (1, 2, 3):
        shard(path, number, model=tiny_model(1), overwrite=True)
    ps.tl.finish(sd.read_zarr(path))
    facts = sd.read_zarr(path).attrs["pixnet_sd"]["elements"]["he_programs"]
    assert facts["sha256"] == tiny_model(1).sha256


def test_a_request_is_found_as_it_was_left(tmp_path: Path) -> None:
    asked = PredictOptions(image_key="he", genes=["VIM"], value_range=(0, 255), shards=2)
    tissue = Tissue(da.from_array(np.eye(3, dtype=np.uint8)[None]), 2 * np.eye(3))
    options.write_options(tmp_path, asked, tiny_model(), tissue)
    options.write_options(tmp_path, replace(asked, shards=5), tiny_model(1), None)  # came second
    found, model, of_first = options.read_options(tmp_path)
    assert of_first is not None
    np.testing.assert_array_equal(of_first.labels, tissue.labels)
    np.testing.assert_array_equal(of_first.from_raster, tissue.from_raster)
    assert (found.genes, found.shards, model.sha256) == (["VIM"], 2, tiny_model().sha256)
    assert tuple(found.value_range or ()) == (0, 255)


def test_several_slides_are_all_predicted_but_for_the_one_that_cannot_be(path: Path, tmp_path: Path) -> None:
    first, third = sd.read_zarr(path), sd.read_zarr(shutil.copytree(path, tmp_path / "third.zarr"))
    with pytest.raises(PixnetRuntimeError, match=r"1 of 3 slides.*\n- slide 2: PixnetKeyError: image_key='he'") as told:
        run([first, build.make_section({}, {}, {}), third])
    assert isinstance(told.value.__cause__, ExceptionGroup)
    assert "he_programs" in first
    assert "he_programs" in third
    assert [one.shape for one in run([first, third], inplace=False)] == [(2, 64, 64)] * 2


def test_what_is_not_kept_is_not_said_to_be_done(path: Path) -> None:
    slides = [sd.read_zarr(path), build.make_section({}, {}, {})]
    with pytest.raises(PixnetRuntimeError, match="1 of 2 slides .* with inplace=False nothing is kept of the others"):
        run(slides, inplace=False)


def sleep_until_there(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_the_error_that_stops_workers_is_the_one_that_is_told(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that do not stop in time are waited for once, not each, and not to the end."""
    monkeypatch.setattr(dask, "PATIENCE_S", 0.2)
    waits: list[Any] = []
    undisturbed = distributed.wait

    def wait(futures: list, **options: Any) -> Any:
        waits.append(futures)
        return undisturbed(futures, **options)

    monkeypatch.setattr(distributed, "wait", wait)
    futures = [client.submit(sleep_until_there, tmp_path / "enough", pure=False) for _ in range(2)]
    with pytest.raises(Stopped), dask.stop_on_error(tmp_path, futures):
        raise Stopped
    assert waits == [futures]
    assert not any(future.done() for future in futures)
    assert (tmp_path / dask.STOP).exists()
    (tmp_path / "enough").touch()


def test_the_driver_of_workers_tells_of_seams(
    path: Path, client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its own processor, for it may lack the device of the workers."""
    devices: list[str] = []

    def seam(network: Any, picture: Any, near: Window, how: Any) -> float:
        devices.append(how.device)
        return 1.5

    monkeypatch.setattr(diagnostics, "measure_seam", seam)
    logging.getLogger("pixnet_sd").addHandler(caplog.handler)
    run(sd.read_zarr(path))
    logging.getLogger("pixnet_sd").removeHandler(caplog.handler)
    assert devices == ["cpu"]
    assert "the map changes 1.50 times as much" in caplog.text


def test_a_map_that_was_begun_under_an_older_record_is_taken_up(path: Path, expected: dict[str, str]) -> None:
    """Its plan does not name what the genes will be called."""
    with pytest.raises(Stopped):
        run(sd.read_zarr(path), model=stopped_model(after=5))
    ledger = next(path.parent.glob(".s.zarr+he_programs.partial/ledger.jsonl"))
    assert "expression" not in json.loads(ledger.read_text().splitlines()[0])
    run(sd.read_zarr(path))
    assert digests(path) == expected
