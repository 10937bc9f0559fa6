"""Rows that are this package itself, through its public calls: train on sections, predict shapes of another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd.nn.network.views import VIEWS

from .data import encoder_weights, seen_as
from .protocol import TABLE, Fold, Prediction, Study
from .results import remembered

OURS = ps.TrainConfig(
    network=ps.NetworkConfig(levels=(2, 3), stride=2, decoder="pixel", widths=(64,), context_um=(50.0, 150.0)), views=4
)
"""What is proposed, on any data; only the µm per pixel follow the picture."""
MEMBERS = 3
"""As many as the other rows have seeds, whose means over seeds are in the report too."""
RIDGE_RANK = 32


def ridge(study: Study, fold: Fold, seed: int) -> Prediction:
    config = ours(study)
    ranked = replace(config, network=replace(config.network, programs=RIDGE_RANK))
    return of_spots(study, fold, *trained(study, fold, ranked, method="ridge"))


def rate(study: Study, fold: Fold, seed: int) -> Prediction:
    """One network of the ensemble alone; its seconds of training are those of all."""
    model, train_s = members(study, fold)
    one = ps.Model([model.network.members[seed]], model.genes, model.card, library_size=model.library_size)
    return of_spots(study, fold, one, train_s)


def ensemble(study: Study, fold: Fold, seed: int) -> Prediction:
    return of_spots(study, fold, *members(study, fold))


def members(study: Study, fold: Fold) -> tuple[ps.Model, float]:
    return kept_model(study, fold.name, lambda: trained(study, fold, replace(ours(study), members=MEMBERS)))


def ours(study: Study) -> ps.TrainConfig:
    return replace(OURS, network=replace(OURS.network, mpp=study.source.mpp))


def trained(
    study: Study, fold: Fold, config: ps.TrainConfig, *, method: Literal["pixnet", "ridge"] = "pixnet"
) -> tuple[ps.Model, float]:
    """A model, and the seconds that it took."""
    sections = [study.section(name) for name in fold.training]
    start = time.perf_counter()
    model = ps.tl.train(
        [fold.labelled(section) for section in sections],
        table_key=TABLE,
        genes=fold.genes,
        method=method,
        config=config,
        validation=None,
        encoder_weights=encoder_weights(),
        allow_upsample=True,
    )
    return model, time.perf_counter() - start


def kept_model(study: Study, name: str, train: Callable[[], tuple[ps.Model, float]]) -> tuple[ps.Model, float]:
    """From its folder, trained only once."""
    path = study.folder / "models" / study.data / name

    def work() -> dict[str, float]:
        model, train_s = train()
        model.save(path)
        return {"train_s": train_s}

    path.parent.mkdir(parents=True, exist_ok=True)
    facts = remembered(path.with_suffix(".json"), work)
    return ps.Model.load(path), facts["train_s"]


def of_spots(study: Study, fold: Fold, model: ps.Model, train_s: float) -> Prediction:
    """The spots of the left-out section, on its picture in each way that it may lie."""
    test, start = study.section(fold.test), time.perf_counter()
    values = np.stack([predict(seen_as(test.sdata, *view), model) for view in VIEWS])
    seconds = (time.perf_counter() - start) / len(VIEWS)
    return Prediction(values, train_s, seconds, "counts" if model.unit != "log1p" else "log1p")


def predict(sdata: SpatialData, model: ps.Model) -> np.ndarray:
    """(spots, genes); rows are in the order of the measured table."""
    table = ps.tl.predict_shapes(sdata, "spots", model=model, allow_upsample=True, device="cpu", inplace=False)
    assert list(table.obs["instance_id"]) == list(sdata.tables[TABLE].obs["instance_id"])
    return np.asarray(table.X)
