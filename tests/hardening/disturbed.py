"""Calls that write, as another process makes them, and what can be done to them from inside.

The harness starts this file by its path, so that nothing of pytest is in the process that is killed.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import spatialdata as sd
import tiny
import torch
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError
from pixnet_sd._sdata.storage import growing
from pixnet_sd.nn.model.model import Model

DONE, REFUSED, INTERRUPTED = 0, 3, 4
"""How a process ends: as ever, by an error of the package, by Ctrl-C. Whatever else was raised is 1."""
Load = Callable[[], Model]
TILE: dict[str, Any] = {"tile_size": 64, "batch_size": 2, "device": "cpu", "progress": False}


def predict(sdata: SpatialData, load: Load, again: bool) -> None:
    ps.tl.predict(sdata, "he", model=load(), **TILE)


def predict_shapes(sdata: SpatialData, load: Load, again: bool) -> None:
    ps.tl.predict_shapes(sdata, "cells", image_key="he", model=load(), overwrite=again, **TILE)


def aggregate(sdata: SpatialData, load: Load, again: bool) -> None:
    ps.tl.aggregate(sdata, "cells", raster_key="he", overwrite=again, progress=False)


def tissue(sdata: SpatialData, load: Load, again: bool) -> None:
    ps.pp.tissue(sdata, "he", overwrite=again)


def train(sdata: SpatialData, load: Load, again: bool) -> None:
    """A model beside the store, with a checkpoint after each epoch."""
    place, few = Path(str(sdata.path)).parent, ps.TrainConfig(network=tiny.STAIN, steps=40)
    model = ps.tl.train(
        sdata, table_key="counts", config=few, checkpoint=place / "checkpoint", validation=None, progress=False
    )
    model.save(place / "trained", overwrite=again)


CALLS: dict[str, Callable[[SpatialData, Load, bool], None]] = {
    "predict": predict,
    "predict_shapes": predict_shapes,
    "aggregate": aggregate,
    "tissue": tissue,
    "train": train,
}


def disturbed(folder: Path, number: int, act: Callable[[], None]) -> Model:
    """A model that does something when it runs for the so-manieth time."""
    model, runs = Model.load(folder), []

    def count(*_: object) -> None:
        runs.append(1)
        if len(runs) == number:
            act()

    model.network.register_forward_pre_hook(count)
    return model


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def no_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def wait(talk: Path) -> None:
    (talk / "waits").touch()
    while not (talk / "go").exists():
        time.sleep(0.001)


def wait_at(path: Path, talk: Path, event: str, _: object) -> None:
    """Before the first folder that is moved when this one is there."""
    if event == "os.rename" and path.exists():
        wait(talk)


def fill_up(largest_file: int) -> None:
    """A limit on the size of files stands for the disk: the system refuses a write, wherever that is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))


@contextmanager
def workers(count: int, talk: Path) -> Iterator[None]:
    """With a client of dask, whose workers can be killed: their processes are told, in the order of their addresses."""
    if not count:
        yield
        return
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        found = client.run(os.getpid)
        (talk / "workers").write_text(" ".join(str(found[address]) for address in sorted(found)))
        yield


@dataclass(frozen=True)
class Asked:
    """A call and what is done to it."""

    store: str
    talk: str
    call: str
    again: bool = False
    batch: int = 0
    """In which one something happens."""
    act: str = ""
    """What."""
    waits_at: str = ""
    """An element of the store; before another one is moved into it, the process waits."""
    largest_file: int = 0
    workers: int = 0

    def load(self) -> Model:
        folder = Path(self.store).with_name("model")
        acts: dict[str, Callable[[], None]] = {
            "interrupt": interrupt,
            "no_memory": no_memory,
            "wait": partial(wait, Path(self.talk)),
        }
        return disturbed(folder, self.batch, acts[self.act]) if self.act else Model.load(folder)

    def disturb(self, talk: Path) -> None:
        if self.waits_at:
            sys.addaudithook(partial(wait_at, Path(self.store, self.waits_at), talk))
        if self.largest_file:
            fill_up(self.largest_file)

    def end(self) -> int:
        """Make the call; how it ended."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)
        growing.CHUNKS = (16, 32, 32)  # a map of several files
        sdata, talk = sd.read_zarr(self.store), Path(self.talk)
        with workers(self.workers, talk):
            try:
                (talk / "begins").touch()
                self.disturb(talk)
                CALLS[self.call](sdata, self.load, self.again)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the call is over
            except KeyboardInterrupt:
                return INTERRUPTED
            except PixnetError as error:
                fill_up(resource.RLIM_INFINITY)
                (talk / "said").write_text(str(error))
                return REFUSED
        return DONE


if __name__ == "disturbed":
    asked = Asked(**globals()["asked"])
    sys.exit(asked.end())
