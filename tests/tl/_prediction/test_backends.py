"""A map made with OpenVINO is resumed, shared by workers, threads and forks, and known as such."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
from distributed import Client, LocalCluster
from files import digests
from hardening.slides import picture, pixels, predict, section, squares, tiny_model

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.provenance import get_record
from pixnet_sd.nn.inference.openvino import OpenvinoNetwork

pytest.importorskip("openvino", reason='OpenVINO is not installed (pip install "pixnet-sd[fast]")')

HOW: dict[str, Any] = {"tile_size": 64, "backend": "openvino"}
PICTURE = picture(pixels(192, 192))


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One folder for all tests, so that the network is converted once."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(ps.settings, "cache_dir", str(tmp_path_factory.mktemp("kept")))
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of a run in one go."""
    path = stored(tmp_path_factory.mktemp("expected"))
    predict(sd.read_zarr(path), **HOW)
    return digests(path)


def stored(folder: Path) -> Path:
    section(he=PICTURE).write(folder / "s.zarr")
    return folder / "s.zarr"


def interrupt(path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Stand for Ctrl-C once so many tiles were seen."""
    done: list[object] = []

    def stop(self: OpenvinoNetwork, image: Any) -> Any:
        done.append(image)
        if len(done) > after:
            raise KeyboardInterrupt
        return find(self, image)

    find = OpenvinoNetwork.find_compiled
    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr(OpenvinoNetwork, "find_compiled", stop)
        predict(sd.read_zarr(path), **HOW)


def test_an_interrupted_map_is_resumed_with_the_same_bytes_and_never_by_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, str]
) -> None:
    path = stored(tmp_path)
    interrupt(path, monkeypatch, 4)
    with pytest.raises(PixnetValueError, match="backend: 'openvino' then, 'torch' now"):
        predict(sd.read_zarr(path), **{**HOW, "backend": "torch"})
    predict(sd.read_zarr(path), **HOW)
    assert digests(path) == expected


def test_workers_of_dask_give_the_same_bytes(tmp_path: Path, expected: dict[str, str]) -> None:
    path = stored(tmp_path)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster):
        predict(sd.read_zarr(path), **HOW)
    assert digests(path) == expected


def test_threads_and_tables_give_what_each_gives_alone() -> None:
    model = tiny_model()

    def table(_: int) -> np.ndarray:
        sdata = section(he=PICTURE, a=squares())
        ps.tl.predict_shapes(sdata, "a", model=model, device="cpu", progress=False, **HOW)
        return sdata["a_expression"].X

    alone = table(0)
    with ThreadPoolExecutor(3) as threads:
        assert all(np.array_equal(found, alone) for found in threads.map(table, range(3)))


def test_maps_and_tables_say_what_ran_the_network() -> None:
    sdata = section(he=PICTURE, a=squares())
    predict(sdata, **HOW)
    ps.tl.predict_shapes(sdata, "a", model=tiny_model(), device="cpu", progress=False, **HOW)
    record = get_record(sdata, "he_programs")
    assert record is not None
    assert record["backend"] == sdata["a_expression"].uns["pixnet_sd"]["backend"] == "openvino"


FORK = """
import os, sys
import dask
import numpy as np
import pixnet_sd as ps
from hardening.slides import picture, pixels, predict, section

ps.settings.cache_dir = sys.argv[1]
dask.config.set(scheduler="synchronous")  # the threads of dask's own pool do not survive a fork

def programs():
    sdata = section(he=picture(pixels(128, 128)))
    predict(sdata, backend="openvino")
    return sdata["he_programs"].values

wanted = programs()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(programs(), wanted) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork, or not safely")
def test_a_forked_process_gives_the_bytes_of_its_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert ended.returncode == 0, ended.stderr
