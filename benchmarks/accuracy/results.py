"""Results on disk: one small file for each (row, fold, seed), written whole or not at all. numpy and json only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .protocol import Fold, Prediction, Study


def path_of(study: Study, row: str, fold: Fold, seed: int) -> Path:
    return study.folder / "results" / study.data / row / f"{fold.name}-seed{seed}.npz"


def keep(path: Path, found: Prediction) -> None:
    facts = {"train_s": found.train_s, "predict_s": found.predict_s, "unit": found.unit, "chosen": found.chosen}
    write_arrays(path, values=found.values.astype(np.float32), facts=np.array(json.dumps(facts)))


def load(path: Path) -> Prediction:
    with np.load(path) as stored:
        return Prediction(stored["values"], **json.loads(str(stored["facts"])))


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(unfinished, **arrays)  # type: ignore[arg-type]
    unfinished.replace(path)


def remembered(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` found, here or in an earlier run."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(work()))
        unfinished.replace(path)
    return json.loads(path.read_text())
