"""Ctrl-C and a full disk, as the system really sends them: the store opens, and the same call ends with the same bytes.

What `kill -9` leaves is tested in `test_predict.py`.
"""

import errno
import hashlib
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spatialdata as sd
import torch

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._sdata import build, store
from pixnet_sd.nn.model import Card, Model
from pixnet_sd.nn.network import NetworkConfig, PixNet
from pixnet_sd.tl._predict import predict

TILES = 16
DONE, INTERRUPTED, NO_ROOM = 0, 3, 4
"""How a process ends."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are POSIX")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "s.zarr"
    build.section({"he": ps.datasets.toy(size_px=256)["he"]}, {}, {"he": 0.5}).write(path)
    return path


@pytest.fixture(scope="module")
def expected(stored: Path) -> dict[str, str]:
    path = Path(shutil.copytree(stored, stored.with_name("expected.zarr")))
    assert run_in_process(path) == DONE
    return digests(path)


@pytest.fixture
def path(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "s.zarr"))


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".partial")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("after", [1, 7, TILES])
def test_ctrl_c_loses_nothing(path: Path, expected: dict[str, str], after: int) -> None:
    before = digests(path)
    assert run_in_process(path, interrupt_after=after) == INTERRUPTED
    assert digests(path) == before
    assert "he_programmes" not in sd.read_zarr(path)
    notes = (path.parent / ".s.zarr.he_programmes.partial" / "ledger.jsonl").read_text().splitlines()[1:]
    assert len(notes) == after - 1  # the tile in which the signal came is not done
    assert run_in_process(path) == DONE
    assert digests(path) == expected


@pytest.mark.parametrize("largest_file", [100, 2_000, 8_000, 30_000])
def test_a_disk_that_fills_up_loses_nothing(path: Path, expected: dict[str, str], largest_file: int) -> None:
    """A limit on the size of files stands for the disk: the system refuses a write, wherever that is."""
    before = digests(path)
    assert run_in_process(path, largest_file=largest_file) == NO_ROOM
    assert digests(path) == before
    assert "he_programmes" not in sd.read_zarr(path)
    assert run_in_process(path) == DONE
    assert digests(path) == expected
    assert [one.name for one in path.parent.iterdir()] == ["s.zarr"]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the other process: torch sums in another order with more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_map_that_was_moved_but_not_recorded_is_no_image_to_predict_from(
    path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a full disk: the repeated call found two images and did not know which was meant."""
    options: Any = {"model": tiny_model(), "tile_size": 64, "device": "cpu", "progress": False}
    with monkeypatch.context() as patch, pytest.raises(PixnetRuntimeError, match="no more room"):
        patch.setattr(store, "consolidated", no_room)
        predict(sd.read_zarr(path), **options)
    assert (path / "images" / "he_programmes").exists()
    predict(sd.read_zarr(path), **options)
    assert digests(path) == expected


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_in_process(path: Path, **disturbance: int) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pixnet_sd.tl._predict", "pixnet_sd.nn.model"])
    arguments = {"init_globals": {"asked": {"path": str(path), **disturbance}}, "run_name": "disturbed"}
    process = context.Process(target=runpy.run_path, args=(__file__,), kwargs=arguments)
    process.start()
    process.join()
    return process.exitcode


def tiny_model() -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(encoder="stain", widths=(8, 8, 8, 8), programmes=3, context_um=())
    return Model([PixNet(config, 2, encoder_weights=None)], ["EPCAM", "VIM"], Card("tiny"))


def signal_in_tile(model: Model, number: int) -> None:
    runs: list[int] = []

    def count(*_: object) -> None:
        runs.append(1)
        if len(runs) == number:
            os.kill(os.getpid(), signal.SIGINT)

    model.network.register_forward_hook(count)


def end(path: str, interrupt_after: int | None = None, largest_file: int | None = None) -> int:
    """Predict, disturbed; how it ended."""
    import resource

    signal.signal(signal.SIGINT, signal.default_int_handler)
    model, sdata = tiny_model(), sd.read_zarr(path)
    if interrupt_after is not None:
        signal_in_tile(model, interrupt_after)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    try:
        predict(sdata, "he", model=model, tile_size=64, device="cpu", progress=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except PixnetRuntimeError as error:
        return NO_ROOM if "no more room" in str(error) else 1
    return DONE


if __name__ == "disturbed":
    torch.set_num_threads(1)
    sys.exit(end(**globals()["asked"]))
