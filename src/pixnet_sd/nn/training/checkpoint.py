"""A training run on disk, to be taken up with, on a CPU, the very same result. Torch and safetensors.

A folder with one file per member: tensors, and as their metadata the history and what the run was asked to do. It is
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
from pixnet_sd.nn.training.loop import History, TrainState

SAMPLE_PX = 64
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
WEIGHTS = ("network", "averaged", "best")


def save_checkpoint(path: Path, run: TrainState, identity: dict[str, Any]) -> None:
    """Where there are several processes, the first one writes."""
    if distributed.process_rank() > 0:
        return
    told = {"run": json.dumps(identity), "history": json.dumps(asdict(run.history)), "steps": str(run.steps)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path.parent, after=f"{path.parent} keeps the epochs that are done."):
        replace_files(path.parent, {path.name: save(tensors_of(run), metadata=told)})


def restore_checkpoint(path: Path, run: TrainState, identity: dict[str, Any]) -> None:
    """Put a run where it was stored; nothing happens where nothing was stored."""
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            told, names = file.metadata(), list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise PixnetValueError(
            f"{path} is not a checkpoint of a training run: {error}. Delete it to start anew."
        ) from None
    check_same_training(path, json.loads(told["run"]), identity)
    for name in WEIGHTS:
        weights = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if name == "best":
            run.best = weights
        else:
            getattr(run, name).load_state_dict(weights)
    for number, parameter in enumerate(parameters_of(run)):
        run.optimiser.state[parameter] = {
            name: tensors[key].to("cpu" if name == "step" else parameter.device)
            for name in MOMENTS
            if (key := f"optimiser.{number}.{name}") in tensors
        }
    run.history, run.steps = History(**json.loads(told["history"])), int(told["steps"])


def tensors_of(run: TrainState) -> dict[str, Tensor]:
    weights = {f"{name}.{key}": value for name in WEIGHTS for key, value in weights_of(run, name).items()}
    moments = {
        f"optimiser.{number}.{name}": run.optimiser.state[parameter][name]
        for number, parameter in enumerate(parameters_of(run))
        for name in MOMENTS
        if run.optimiser.state[parameter]  # a loss may leave a parameter out
    }
    return {key: value.detach().cpu().clone().contiguous() for key, value in (weights | moments).items()}


def weights_of(run: TrainState, name: str) -> dict[str, Tensor]:
    return run.best if name == "best" else getattr(run, name).state_dict()


def parameters_of(run: TrainState) -> list[torch.nn.Parameter]:
    return [parameter for group in run.optimiser.param_groups for parameter in group["params"]]


def training_fingerprint(run: TrainState) -> dict[str, Any]:
    """What must be the same for the result to be the same; of a run that has not begun."""
    data = hashlib.sha256()
    for role in (run.lesson.training, run.lesson.validation):
        data.update(f"{len(role)} sets".encode())
        for material in role:
            update_parameters(data, material)
    start = hashlib.sha256()
    for name, values in {**run.network.features.state_dict(), **run.network.head.state_dict()}.items():
        start.update(name.encode() + values.cpu().numpy().tobytes())
    config = json.loads(json.dumps(run.config.to_json()))
    return {"config": config, "data": data.hexdigest(), "start": start.hexdigest()}


def update_parameters(data: hashlib._Hash, material: ShapeDataset) -> None:
    """Counts, shapes, and some pixels."""
    measured, (height, width) = material.measured, material.slide.picture.grid.shape
    counts = measured.counts.tocsr()
    middle = Window(height // 2, width // 2, height // 2 + SAMPLE_PX, width // 2 + SAMPLE_PX)
    arrays = counts.indptr, counts.indices, counts.data, measured.totals, measured.shapes.bounds
    for values in (*arrays, material.slide.picture.read(middle)):
        data.update(np.ascontiguousarray(values).tobytes())


def check_same_training(path: Path, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    if stored["data"] != asked["data"]:
        raise PixnetValueError(f"{path} was written while training on other sections. Use another folder.")
    if stored.get("start") != asked["start"]:
        raise PixnetValueError(f"{path} was written by a training that began with other weights. Use another folder.")
    names = [name for name, value in asked["config"].items() if stored["config"].get(name) != value]
    if names:
        changes = ", ".join(
            f"{name}: {stored['config'].get(name)!r} then, {asked['config'][name]!r} now" for name in names
        )
        raise PixnetValueError(f"{path} was written with another configuration ({changes}). Use another folder.")
