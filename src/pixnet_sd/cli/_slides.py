"""Do the same work on each slide that a command names, with one line for each on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixnet_sd._errors import PixnetError, PixnetRuntimeError, PixnetValueError
from pixnet_sd.cli import _messages

if TYPE_CHECKING:
    from spatialdata import SpatialData

Facts = dict[str, Any]
MARKERS = ("zarr.json", ".zgroup", ".zattrs")
"""Files that tell a zarr store, of any version."""


def add_slides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", nargs="+", metavar="slide.zarr", help="SpatialData stores, one after the other")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


def open_slide(path: str) -> SpatialData:
    """Open a store, lazily."""
    from spatialdata import SpatialData

    if not any((Path(path) / name).exists() for name in MARKERS):
        found = "is no zarr store" if Path(path).exists() else "is not there"
        raise PixnetValueError(f"{path} {found}. Give the path of a SpatialData object that was written to disk.")
    try:
        return SpatialData.read(path)
    except Exception as error:
        raise PixnetRuntimeError(f"{path} cannot be read as a SpatialData store: {error}") from error


def for_each(asked: argparse.Namespace, work: Callable[[str], Facts]) -> int:
    """Work on all slides, also after one that fails; return the exit code."""
    return max([report_slide(path, work, as_json=asked.json) for path in asked.slides])


def report_slide(path: str, work: Callable[[str], Facts], *, as_json: bool) -> int:
    start = time.monotonic()
    try:
        facts = {"status": "done", **work(path)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this slide's, and the others are worth their try
        told = error if isinstance(error, PixnetError | OSError) else f"{type(error).__name__}: {error}"
        _messages.print_error(told, path)
        facts = {"status": "failed", "error": _messages.fold_lines(told)}
    facts["seconds"] = round(time.monotonic() - start, 1)
    print(json.dumps({"slide": path, **facts}) if as_json else f"{path}: {in_words(facts)}", flush=True)
    return 2 if facts["status"] == "failed" else 0


def in_words(facts: Facts) -> str:
    """Describe the status, then what else is known but for the error, which is on stderr."""
    shown = {name: value for name, value in facts.items() if name not in ("status", "error", "seconds")}
    said = [
        facts["status"],
        *(f"{name} {join_words(value)}" for name, value in shown.items() if value not in (None, [])),
    ]
    return ", ".join([*said, f"{facts['seconds']:.1f} s"])


def join_words(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(join_words, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def shows_bars() -> bool:
    return sys.stderr.isatty()
