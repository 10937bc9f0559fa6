"""Rows that are this package itself, through its public calls: train on sections, predict shapes of another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

import pixnet_sd as ps

from .data import encoder_weights
from .protocol import TABLE, Fold, Prediction, Study
from .results import remembered

OURS = ps.TrainConfig(
    network=ps.NetworkConfig(decoder="pixel", widths=(64,), context_um=(150.0, 300.0, 600.0), overview=4)
)
"""What is proposed, on any data; only the µm per pixel follow the picture."""
MEMBERS = 3
"""As many as the other rows have seeds, whose means over seeds are in the report too."""
RIDGE_RANK = 32


def ridge(study: Study, fold: Fold, seed: int) -> Prediction:
    return predicted(study, fold, of_rank(ours(study), RIDGE_RANK), method="ridge")


def rate(study: Study, fold: Fold, seed: int) -> Prediction:
    """One network of the ensemble alone; its seconds of training are those of all."""
    return predicted(study, fold, members(study), kept=models(study, fold), member=seed)


def ensemble(study: Study, fold: Fold, seed: int) -> Prediction:
    return predicted(study, fold, members(study), kept=models(study, fold))


def ensemble_of_views(study: Study, fold: Fold, seed: int) -> Prediction:
    """The same networks, each place seen in its eight turned and mirrored views."""
    return predicted(study, fold, members(study), kept=models(study, fold), views=True)


def members(study: Study) -> ps.TrainConfig:
    return replace(ours(study), members=MEMBERS)


def ours(study: Study) -> ps.TrainConfig:
    return replace(OURS, network=replace(OURS.network, mpp=study.source.mpp))


def of_rank(config: ps.TrainConfig, programmes: int) -> ps.TrainConfig:
    return replace(config, network=replace(config.network, programmes=programmes))


def models(study: Study, fold: Fold) -> Path:
    return study.folder / "models" / study.data / fold.name


def alone(model: ps.Model, member: int) -> ps.Model:
    """One network of a model, as a model."""
    return ps.Model([model.network.members[member]], model.genes, model.card, library_size=model.library_size)


def predicted(
    study: Study,
    fold: Fold,
    config: ps.TrainConfig,
    *,
    method: Literal["pixnet", "ridge"] = "pixnet",
    kept: Path | None = None,
    member: int | None = None,
    views: bool = False,
) -> Prediction:
    """Train, unless the model is kept from another row, and predict the spots of the left-out section."""
    sections = [study.section(name) for name in fold.training]
    test, start = study.section(fold.test), time.perf_counter()

    def train() -> ps.Model:
        return ps.tl.train(
            [fold.labelled(section) for section in sections],
            table_key=TABLE,
            genes=fold.genes,
            method=method,
            config=config,
            validation=None,
            encoder_weights=encoder_weights(),
            allow_upsample=True,
        )

    model, train_s = (train(), time.perf_counter() - start) if kept is None else kept_model(kept, train)
    model = model if member is None else alone(model, member)
    start = time.perf_counter()
    table = ps.tl.predict_shapes(
        test.sdata, "spots", model=model, allow_upsample=True, augment=views, device="cpu", inplace=False
    )
    assert list(table.obs["instance_id"]) == list(test.table.obs["instance_id"])
    unit = "counts" if model.unit != "log1p" else "log1p"
    return Prediction(np.asarray(table.X), train_s, time.perf_counter() - start, unit)


def kept_model(path: Path, train: Callable[[], ps.Model]) -> tuple[ps.Model, float]:
    """From its folder, trained only once; with the seconds of that."""

    def work() -> dict[str, float]:
        start = time.perf_counter()
        train().save(path)
        return {"train_s": time.perf_counter() - start}

    path.parent.mkdir(parents=True, exist_ok=True)
    facts = remembered(path.with_suffix(".json"), work)
    return ps.Model.load(path), facts["train_s"]
