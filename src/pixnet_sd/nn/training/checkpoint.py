"""Store and restore the state of a training; on a CPU, a resumed one gives the very same result. Torch and safetensors.

A folder with one file per member: tensors, and as their metadata the history and a fingerprint of the training. It is
replaced in one move, so it is either the old or the new state.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._files import explain_full_disk, replace_files
from pixnet_sd._raster.grid import Window
from pixnet_sd.nn.training import distributed
from pixnet_sd.nn.training.dataset import ShapeDataset
from pixnet_sd.nn.training.state import History, TrainState

SAMPLE_PX = 64
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
WEIGHTS = ("network", "averaged", "best")


def save_checkpoint(path: Path, state: TrainState, fingerprint: dict[str, Any]) -> None:
    """Write the state; with several processes, the first one writes."""
    if distributed.process_rank() > 0:
        return
    metadata = {
        "fingerprint": json.dumps(fingerprint),
        "history": json.dumps(asdict(state.history)),
        "steps": str(state.steps),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path.parent, after=f"{path.parent} keeps the epochs that are done."):
        replace_files(path.parent, {path.name: save(state_tensors(state), metadata=metadata)})


def restore_checkpoint(path: Path, state: TrainState, fingerprint: dict[str, Any]) -> None:
    """Restore a stored state; do nothing if nothing was stored."""
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            metadata, names = file.metadata(), list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise PixnetValueError(f"{path} is not a checkpoint of a training: {error}. Delete it to start anew.") from None
    check_same_training(path, json.loads(metadata["fingerprint"]), fingerprint)
    for name in WEIGHTS:
        weights = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if name == "best":
            state.best = weights
        else:
            getattr(state, name).load_state_dict(weights)
    for number, parameter in enumerate(optimized_parameters(state)):
        state.optimizer.state[parameter] = {
            # AdamW counts steps on the CPU, whatever the device of the parameter.
            name: tensors[key].to("cpu" if name == "step" else parameter.device)
            for name in MOMENTS
            if (key := f"optimizer.{number}.{name}") in tensors
        }
    state.history, state.steps = History(**json.loads(metadata["history"])), int(metadata["steps"])


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    weights = {f"{name}.{key}": value for name in WEIGHTS for key, value in named_weights(state, name).items()}
    moments = {
        f"optimizer.{number}.{name}": state.optimizer.state[parameter][name]
        for number, parameter in enumerate(optimized_parameters(state))
        for name in MOMENTS
        if state.optimizer.state[parameter]  # a loss may not use a parameter
    }
    return {key: value.detach().cpu().clone().contiguous() for key, value in (weights | moments).items()}


def named_weights(state: TrainState, name: str) -> dict[str, Tensor]:
    return state.best if name == "best" else getattr(state, name).state_dict()


def optimized_parameters(state: TrainState) -> list[torch.nn.Parameter]:
    return [parameter for group in state.optimizer.param_groups for parameter in group["params"]]


def training_fingerprint(state: TrainState) -> dict[str, Any]:
    """Digest all that determines the result, before the first epoch."""
    data = hashlib.sha256()
    for role in (state.training, state.validation):
        data.update(f"{len(role)} sets".encode())
        for dataset in role:
            update_digest(data, dataset)
    start = hashlib.sha256()
    for name, values in {**state.network.features.state_dict(), **state.network.head.state_dict()}.items():
        start.update(name.encode() + values.cpu().numpy().tobytes())
    config = json.loads(json.dumps(state.config.to_json()))
    return {"config": config, "data": data.hexdigest(), "start": start.hexdigest()}


def update_digest(digest: hashlib._Hash, dataset: ShapeDataset) -> None:
    """Add counts, shapes, and some pixels."""
    measured, (height, width) = dataset.measured, dataset.slide.picture.grid.shape
    counts = measured.counts.tocsr()
    middle = Window(height // 2, width // 2, height // 2 + SAMPLE_PX, width // 2 + SAMPLE_PX)
    arrays = counts.indptr, counts.indices, counts.data, measured.totals, measured.shapes.bounds
    for values in (*arrays, dataset.slide.picture.read(middle)):
        digest.update(np.ascontiguousarray(values).tobytes())


def check_same_training(path: Path, stored: dict[str, Any], current: dict[str, Any]) -> None:
    if stored["data"] != current["data"]:
        raise PixnetValueError(f"{path} was written while training on other sections. Use another folder.")
    if stored.get("start") != current["start"]:
        raise PixnetValueError(f"{path} was written by a training that began with other weights. Use another folder.")
    names = [name for name, value in current["config"].items() if stored["config"].get(name) != value]
    if names:
        changes = ", ".join(
            f"{name}: {stored['config'].get(name)!r} then, {current['config'][name]!r} now" for name in names
        )
        raise PixnetValueError(f"{path} was written with another configuration ({changes}). Use another folder.")
