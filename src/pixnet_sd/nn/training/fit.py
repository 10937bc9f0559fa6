"""Train PixNet on slides: features once where the encoder is frozen, then each member from its own seed. Torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._metrics.scores import log_profile
from pixnet_sd.nn.model.domain import learn_domain
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.heads import RateHead
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.pixelwise import PixelDecoder
from pixnet_sd.nn.slides import Slide, mean_rates, size_factors
from pixnet_sd.nn.training import checkpoint
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.dataset import ShapeDataset, TrainingSet, make_datasets
from pixnet_sd.nn.training.evaluate import count_ratios, gene_scores, what_limits
from pixnet_sd.nn.training.loop import History, TrainState, fit_member
from pixnet_sd.nn.training.pooled import pixel_moments
from pixnet_sd.nn.training.prepare import Bar, Prepared, cached_datasets


@dataclass(frozen=True)
class TrainingData:
    """The slides of a training."""

    training: Sequence[Slide]
    validation: Sequence[Slide]
    """May be empty."""
    held_out: str
    """What the validation slides are, in words, for the model's card."""


def train_pixnet(
    schooling: TrainingData,
    genes: Sequence[str],
    config: TrainConfig,
    card: Card,
    *,
    model: Model | None = None,
    encoder_weights: str | Path | None = None,
    folder: Path | None = None,
    device: torch.device | str,
    bar: Bar,
) -> Model:
    """A model of rates (or of log expression, with `head="log"`), the mean of its members.

    With a `folder`, the state of every epoch is kept there, and a run that was interrupted goes on. With a `model`,
    its members are trained further.
    """
    torch.manual_seed(config.seed)
    network = first_network(config, len(genes), model, encoder_weights).eval().to(device)
    with prepare_training(network, schooling, config, device, bar) as (sets, held_out):
        lesson = make_training_set(schooling, sets, held_out, device)
        runs: list[TrainState] = []
        for member, own in new_members(network, config, schooling.training, sets, model, device):
            run = TrainState(member, lesson, own)
            path = None if folder is None else folder / f"member_{len(runs) + 1}.safetensors"
            train_member(run, path, bar, f"train {len(runs) + 1} of {config.members}")
            runs.append(run)
        members = [run.network for run in runs]
        known, limits = held_out_scores(members, lesson, genes), limits_of(members, lesson, genes)
    return Model(
        [member.cpu() for member in members],
        genes,
        replace(card, validation=schooling.held_out + limits, scores=known),
        library_size=library_size(schooling.training) if network.unit != "log1p" else None,
        history=join_curves([run.history for run in runs]),
        appearance=learn_domain(schooling.training),
    )


def first_network(config: TrainConfig, genes: int, model: Model | None, encoder_weights: str | Path | None) -> PixNet:
    """Whose encoder all members begin with."""
    if model is not None:
        require_one_encoder(model, config)
        return deepcopy(model.network.members[0])
    return PixNet(config.network, genes, encoder_weights=encoder_weights)


def require_one_encoder(model: Model, config: TrainConfig) -> None:
    """A frozen encoder's features are computed once for all members."""
    if config.encoder == "frozen" and not model.network.shares_features:
        raise PixnetValueError(
            "The model's members have encoders of their own, which cannot stay as they are together. Train them on "
            'with TrainConfig(encoder="all", ...), or "last:N".'
        )


@contextmanager
def prepare_training(
    network: PixNet, schooling: TrainingData, config: TrainConfig, device: torch.device | str, bar: Bar
) -> Iterator[tuple[list[Prepared], list[Prepared]]]:
    """Crops to learn from and crops held out, with features at hand where they stay the same."""
    if not config.cached:
        yield prepare_uncached(network, schooling.training), prepare_uncached(network, schooling.validation)
        return
    with (
        cached_datasets(network, schooling.training, device, bar, config.pixels, config.views) as training,
        cached_datasets(network, schooling.validation, device, bar, config.pixels) as validation,
    ):
        yield training, validation


def prepare_uncached(network: PixNet, slides: Sequence[Slide]) -> list[Prepared]:
    return [tuple(make_datasets(network, slide, network.margin - network.rim)) for slide in slides]


def make_training_set(
    schooling: TrainingData, training: Sequence[Prepared], validation: Sequence[Prepared], device: torch.device | str
) -> TrainingSet:
    by_slide = zip(size_factors(schooling.training), training, strict=True)
    factors = [factor for own, sets in by_slide for factor in [*own] * (len(sets) // len(own))]
    return TrainingSet(flatten(training), factors, flatten(validation), device)


def flatten(slides: Sequence[Prepared]) -> list[ShapeDataset]:
    return [material for sets in slides for material in sets]


def feature_moments(
    network: PixNet, config: TrainConfig, sets: Sequence[Prepared], device: torch.device | str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and spread of every feature over pixels, for a decoder that standardises them beforehand."""
    if not isinstance(network.decoder, PixelDecoder):
        return None
    if config.cached:
        return average_moments([material.samples.moments() for own in sets for material in own if material.samples])
    return pixel_moments(network, network.decoder.readout, sets, device)


def average_moments(moments: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Of all sets together, each as heavy as the others."""
    means, spreads = (np.array(part) for part in zip(*moments, strict=True))
    return means.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))


def new_members(
    network: PixNet,
    config: TrainConfig,
    slides: Sequence[Slide],
    sets: Sequence[Prepared],
    model: Model | None,
    device: torch.device | str,
) -> Iterator[tuple[PixNet, TrainConfig]]:
    """Each with its own seed; those of a model that is trained further begin where they were."""
    moments = feature_moments(network, config, sets, device)
    for number in range(config.members):
        own = replace(config, seed=config.seed + number)
        member = new_member(network, own, slides, moments)
        if model is not None:
            member.load_state_dict(model.network.members[number].state_dict())
        yield member, own


def new_member(
    network: PixNet, config: TrainConfig, slides: Sequence[Slide], moments: tuple[np.ndarray, np.ndarray] | None
) -> PixNet:
    """A network from its own seed, with the encoder of the first."""
    torch.manual_seed(config.seed)
    member = PixNet(config.network, network.loadings.shape[1], encoder_weights=None, reach=network.reach)
    member.features.load_state_dict(network.features.state_dict())
    if isinstance(member.head, RateHead):
        member.head.start_at(torch.from_numpy(mean_rates(slides)).float())
    else:
        member.head.start_at(torch.from_numpy(mean_profile(slides)).float())
    if moments is not None and isinstance(member.decoder, PixelDecoder):
        member.decoder.standardise(*moments)
    return member


def mean_profile(slides: Sequence[Slide]) -> np.ndarray:
    """(genes,) mean log expression."""
    every = [log_profile(m.counts.toarray(), m.totals) for slide in slides for m in slide.measured]
    return np.nanmean(np.concatenate(every), axis=0)


def train_member(run: TrainState, path: Path | None, bar: Bar, text: str) -> History:
    """Train to the end, from where it was."""
    identity = {} if path is None else checkpoint.training_fingerprint(run)
    if path is not None:
        checkpoint.restore_checkpoint(path, run, identity)
    tick = bar(run.epochs, text)
    tick(len(run.history.loss))

    def after_epoch(history: History) -> None:
        if path is not None:
            checkpoint.save_checkpoint(path, run, identity)
        tick(1, history.latest)

    history = fit_member(run, after_epoch)
    calibrate_totals(run)
    return history


def calibrate_totals(run: TrainState) -> None:
    """Let every gene's expected counts add up to those that were measured.

    What is left out at random in training is there afterwards, and the bend of the programs turns that into a bias:
    without this, totals were 15 % too low on synthetic tissue.
    """
    if isinstance(run.network.head, RateHead):
        ratios = torch.from_numpy(count_ratios(run.network, run.lesson)).float()
        run.network.head.rescale(ratios.to(run.lesson.device))


def held_out_scores(members: Sequence[PixNet], lesson: TrainingSet, genes: Sequence[str]) -> dict[str, float]:
    """Held-out Pearson of the members' mean, for every gene that has one."""
    if not lesson.validation:
        return {}
    scores = gene_scores(members, lesson.validation, lesson.device)
    return {gene: float(score) for gene, score in zip(genes, scores, strict=True) if np.isfinite(score)}


def limits_of(members: Sequence[PixNet], lesson: TrainingSet, genes: Sequence[str]) -> str:
    """Logs are compared as they are; the profile of rates is one of the model's genes alone."""
    rates = isinstance(members[0].head, RateHead)
    return what_limits(lesson.validation, len(genes)) if lesson.validation and rates else ""


def library_size(slides: Sequence[Slide]) -> float:
    """Mean counts over all genes in a training shape at size factor 1."""
    totals = [
        measured.totals / factor
        for slide, own in zip(slides, size_factors(slides), strict=True)
        for measured, factor in zip(slide.measured, own, strict=True)
    ]
    return float(np.concatenate(totals).mean())


def join_curves(histories: Sequence[History]) -> dict[str, list[float]]:
    """Of every member, by name."""
    named = {}
    for number, history in enumerate(histories, 1):
        named[f"loss {number}"] = history.loss
        if history.score:
            named[f"validation {number}"] = history.score
    return named
