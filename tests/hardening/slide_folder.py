"""A folder with a slide and a model, where other processes make calls; and what must hold whatever happens."""

from __future__ import annotations

import multiprocessing
import runpy
import shutil
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import spatialdata as sd
from files import digests
from hardening import disturbed
from hardening.disturbed import DONE
from hardening.slides import GENES, tiny_model

import pixnet_sd as ps
from pixnet_sd._sdata import affine, build

INPUTS = ("s.zarr/images/he", "s.zarr/shapes/cells", "s.zarr/tables/counts", "model")
WRITERS = ("pp._tissue", "tl._aggregate", "tl._predict", "tl._predict_shapes", "tl._train")
PRELOAD = ["distributed", "numba.core.typed_passes", *(f"pixnet_sd.{name}" for name in WRITERS)]
"""Imported once, in the process that all others are forked from."""
MANY_CELLS = 150
"""So that their table has files of some size."""


def write(folder: Path) -> None:
    """The slide and the model that all begin with."""
    toy = ps.datasets.toy(size_px=256)
    cells = toy["cells"].iloc[:MANY_CELLS]
    counts = np.random.default_rng(0).poisson(2.0, (len(cells), len(GENES)))
    table = build.make_table(counts, pd.DataFrame(index=GENES), "cells", cells.index)
    build.make_section({"he": toy["he"], "cells": cells, "counts": table}, {}, {"he": 0.5}).write(folder / "s.zarr")
    tiny_model().save(folder / "model")


@dataclass(frozen=True)
class SlideFolder:
    """One such folder, for one call."""

    folder: Path
    call: str
    whole_s: float = 0.0
    """What the call takes undisturbed."""

    @property
    def store(self) -> Path:
        return self.folder / "s.zarr"

    @property
    def talk(self) -> Path:
        """Beside it, where processes tell each other how far they are."""
        return self.folder.with_name(f"{self.folder.name}-talk")

    @property
    def said(self) -> str:
        """The last error of the package that ended a call."""
        return (self.talk / "said").read_text()

    def start(self, **disturbance: Any) -> BaseProcess:
        """A process in which the call begins."""
        self.talk.mkdir(exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        asked = {"store": str(self.store), "talk": str(self.talk), "call": self.call, **disturbance}
        arguments = {"init_globals": {"asked": asked}, "run_name": "disturbed"}
        process = context.Process(target=runpy.run_path, args=(disturbed.__file__,), kwargs=arguments)
        process.start()
        self.wait_for("begins", process)
        (self.talk / "begins").unlink(missing_ok=True)
        return process

    def ended(self, **disturbance: Any) -> int | None:
        process = self.start(**disturbance)
        process.join()
        return process.exitcode

    def told(self, name: str) -> bool:
        return (self.talk / name).exists()

    def wait_for(self, name: str, process: BaseProcess) -> None:
        """Until the process tells that it is so far, or has ended."""
        while process.is_alive() and not self.told(name):
            time.sleep(0.001)

    def files(self) -> dict[str, str]:
        """Digests of all that a user has in the end, and of what should not be there."""
        passing = ("checkpoint", ".s.zarr+he_programs.done")  # the latter goes with the next prediction
        found = digests(self.folder).items()
        return {name: one for name, one in found if not (name.startswith(passing) or name.endswith(".partial"))}

    def inputs(self) -> dict[str, dict[str, str]]:
        return {name: digests(self.folder / name) for name in INPUTS}

    @property
    def is_finished(self) -> bool:
        """Whether a map is there and nothing waits beside the store; other calls can be made again at any time."""
        there = self.call == "predict" and (self.store / "images" / "he_programs").exists()
        return there and not list(self.folder.glob(".s.zarr+*.partial"))

    def copy(self, folder: Path, call: str, whole_s: float = 0.0) -> SlideFolder:
        return SlideFolder(Path(shutil.copytree(self.folder, folder)), call, whole_s)


def require_usable(slide: SlideFolder, spare: Path) -> None:
    """The store opens, also after somebody else has written into it; that is tried on a copy."""
    store = Path(shutil.copytree(slide.store, spare))
    opened = sd.read_zarr(store)
    opened["other"] = build.make_labels(np.ones((4, 4), np.uint8), affine.get_transformations(opened["he"]))
    opened.write_element("other")
    again = sd.read_zarr(store)
    assert {"he", "cells", "counts", "other"} <= {name for _, name, _ in again.gen_elements()}
    for element in (again["he"], again["other"]):
        np.asarray(element)


def require_same_in_the_end(slide: SlideFolder, expected: dict[str, str]) -> None:
    """All files, and none beside them."""
    if not slide.is_finished:
        assert slide.ended(again=True) == DONE, slide.said
    found = slide.files()
    different = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    assert not different, different
