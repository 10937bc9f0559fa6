"""Rows that are this package itself, through its public calls: train on sections, predict shapes of another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

import pixnet_sd as ps

from .data import encoder_weights, quarter_turned
from .protocol import TABLE, Fold, Prediction, Study
from .results import remembered

OURS = ps.TrainConfig(
    network=ps.NetworkConfig(decoder="pixel", widths=(64,), context_um=(150.0, 300.0, 600.0), overview=4)
)
"""What is proposed, on any data; only the µm per pixel follow the picture."""
MEMBERS = 3
"""As many as the other rows have seeds, whose means over seeds are in the report too."""
RIDGE_RANK = 32
TURNS, STEPS_OF_TURNS = 4, 1600
"""How each section is seen to lie, so that it does not matter how one does; as more is seen, learning takes longer."""


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


def ensemble_of_views(study: Study, fold: Fold, seed: int) -> Prediction:
    """The same networks, each place seen in its eight turned and mirrored views."""
    return of_spots(study, fold, *members(study, fold), views=True)


def turned_section(study: Study, fold: Fold, seed: int) -> Prediction:
    """The same networks on a picture that lies another way than those they learnt from."""
    return of_spots(study, fold, *members(study, fold), turned=True)


def ensemble_of_turns(study: Study, fold: Fold, seed: int) -> Prediction:
    return of_spots(study, fold, *members_of_turns(study, fold))


def turned_section_of_turns(study: Study, fold: Fold, seed: int) -> Prediction:
    return of_spots(study, fold, *members_of_turns(study, fold), turned=True)


def members(study: Study, fold: Fold) -> tuple[ps.Model, float]:
    return kept_model(study, fold.name, lambda: trained(study, fold, replace(ours(study), members=MEMBERS)))


def members_of_turns(study: Study, fold: Fold) -> tuple[ps.Model, float]:
    config = replace(ours(study), members=MEMBERS, views=TURNS, steps=STEPS_OF_TURNS)
    return kept_model(study, f"{fold.name}-turns", lambda: trained(study, fold, config))


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


def of_spots(
    study: Study, fold: Fold, model: ps.Model, train_s: float, *, views: bool = False, turned: bool = False
) -> Prediction:
    """The spots of the left-out section."""
    test = study.section(fold.test)
    sdata, start = quarter_turned(test.sdata) if turned else test.sdata, time.perf_counter()
    table = ps.tl.predict_shapes(
        sdata, "spots", model=model, allow_upsample=True, augment=views, device="cpu", inplace=False
    )
    assert list(table.obs["instance_id"]) == list(test.table.obs["instance_id"])
    unit = "counts" if model.unit != "log1p" else "log1p"
    return Prediction(np.asarray(table.X), train_s, time.perf_counter() - start, unit)
