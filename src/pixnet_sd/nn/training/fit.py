"""Train PixNet on slides: features once if the encoder is frozen, then each member from its own seed. Torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.model.domain import learn_domain
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import Slide, library_size
from pixnet_sd.nn.training import checkpoint
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.dataset import ShapeDataset
from pixnet_sd.nn.training.evaluate import describe_ceiling
from pixnet_sd.nn.training.loop import gene_scores, predict_dataset, train_network
from pixnet_sd.nn.training.pooled import pixel_moments
from pixnet_sd.nn.training.prepare import Progress, SlideSets, cached_datasets, training_datasets, uncached_datasets
from pixnet_sd.nn.training.state import History, TrainState

# Largest factor by which the expected counts of a gene are calibrated.
MOST = 10.0


def train_pixnet(
    training: Sequence[Slide],
    validation: Sequence[Slide],
    genes: Sequence[str],
    config: TrainConfig,
    card: Card,
    *,
    model: Model | None = None,
    encoder_weights: str | Path | None = None,
    folder: Path | None = None,
    device: torch.device | str,
    progress: Progress,
) -> Model:
    """Train a model of rates (or of log expression, with `head="log"`), the mean of its members.

    With a `folder`, the state of every epoch is kept there, and an interrupted training is resumed. With a `model`,
    its members are fine-tuned.
    """
    # Random weights of the first encoder, which members copy.
    torch.manual_seed(config.seed)
    network = first_network(config, len(genes), model, encoder_weights).eval().to(device)
    with prepare_datasets(network, training, validation, config, device, progress) as (train_sets, held_out):
        states: list[TrainState] = []
        for member, own in new_members(network, config, training, train_sets, model, device):
            state = TrainState(member, train_sets, held_out, own, device)
            path = None if folder is None else folder / f"member_{len(states) + 1}.safetensors"
            train_member(state, path, progress, f"train {len(states) + 1} of {config.members}")
            states.append(state)
        members = [state.network for state in states]
        card = score_card(card, members, held_out, genes, device)
    return Model(
        [member.cpu() for member in members],
        genes,
        card,
        library_size=library_size(training) if network.head.additive else None,
        history=join_curves([state.history for state in states]),
        stain_domain=learn_domain(training),
    )


def first_network(config: TrainConfig, genes: int, model: Model | None, encoder_weights: str | Path | None) -> PixNet:
    """Build the network whose encoder all members start with."""
    if model is not None:
        check_one_encoder(model, config)
        return deepcopy(model.network.members[0])
    return PixNet(config.network, genes, encoder_weights=encoder_weights)


def check_one_encoder(model: Model, config: TrainConfig) -> None:
    """Check that members share a frozen encoder, whose features are computed once for all."""
    if config.encoder == "frozen" and not model.network.shares_features:
        raise PixnetValueError(
            "The model's members have encoders of their own, which cannot be frozen together. Fine-tune them with "
            'TrainConfig(encoder="all", ...), or "last:N".'
        )


@contextmanager
def prepare_datasets(
    network: PixNet,
    training: Sequence[Slide],
    validation: Sequence[Slide],
    config: TrainConfig,
    device: torch.device | str,
    progress: Progress,
) -> Iterator[tuple[list[ShapeDataset], list[ShapeDataset]]]:
    """Make training and validation datasets, with features on disk while the block runs if the encoder is frozen."""
    validation = [replace(slide, glass=None) for slide in validation]
    if not config.cached:
        sets, held_out = (uncached_datasets(network, slides) for slides in (training, validation))
        yield training_datasets(sets), flatten_sets(held_out)
        return
    with (
        cached_datasets(network, training, device, progress, config.pixels, config.used_views) as sets,
        cached_datasets(network, validation, device, progress, config.pixels) as held_out,
    ):
        yield training_datasets(sets), flatten_sets(held_out)


def flatten_sets(slides: Sequence[SlideSets]) -> list[ShapeDataset]:
    return [dataset for sets in slides for dataset in sets]


def new_members(
    network: PixNet,
    config: TrainConfig,
    slides: Sequence[Slide],
    datasets: Sequence[ShapeDataset],
    model: Model | None,
    device: torch.device | str,
) -> Iterator[tuple[PixNet, TrainConfig]]:
    """Build each member from its own seed, or from the weights of a model to fine-tune."""
    moments = feature_moments(network, datasets, device) if network.decoder.samples_pixels else None
    for number in range(config.members):
        own = replace(config, seed=config.seed + number)
        member = new_member(network, own, slides, moments)
        if model is not None:
            member.load_state_dict(model.network.members[number].state_dict())
        yield member, own


def new_member(
    network: PixNet, config: TrainConfig, slides: Sequence[Slide], moments: tuple[np.ndarray, np.ndarray] | None
) -> PixNet:
    """Build a network from its own seed, with the encoder of the first."""
    torch.manual_seed(config.seed)
    member = PixNet(config.network, network.loadings.shape[1], encoder_weights=None, reach=network.reach)
    member.features.load_state_dict(network.features.state_dict())
    member.encoder.published = network.encoder.published
    member.head.start_at(torch.from_numpy(member.head.mean_targets(slides)).float())
    if moments is not None:
        member.decoder.standardize(*moments)
    return member


def feature_moments(
    network: PixNet, datasets: Sequence[ShapeDataset], device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and spread of every feature over pixels; of samples, with equal weight for each set."""
    # Glass is no part of what varies between shapes.
    datasets = [dataset for dataset in datasets if not dataset.glass]
    moments = [dataset.samples.moments() for dataset in datasets if dataset.samples]
    if not moments:
        return pixel_moments(network, datasets, device)
    means, spreads = (np.array(part) for part in zip(*moments, strict=True))
    return means.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))


def train_member(state: TrainState, path: Path | None, progress: Progress, text: str) -> None:
    """Train to the end, from a checkpoint where there is one."""
    fingerprint = {} if path is None else checkpoint.training_fingerprint(state)
    if path is not None:
        checkpoint.restore_checkpoint(path, state, fingerprint)
    advance = progress(state.epochs, text)
    advance(len(state.history.loss))

    def after_epoch(history: History) -> None:
        if path is not None:
            checkpoint.save_checkpoint(path, state, fingerprint)
        advance(1, history.postfix)

    train_network(state, after_epoch)
    calibrate_totals(state)


def calibrate_totals(state: TrainState) -> None:
    """Scale every gene so that its expected counts add up to those measured.

    Dropout ends with training, and the bend of the programs turns that into a bias: without this, totals were 15 % too
    low on synthetic tissue.
    """
    if state.network.head.additive:
        ratios = torch.from_numpy(count_ratios(state.network, state.training, state.device)).float()
        state.network.head.rescale(ratios.to(state.device))


def count_ratios(network: PixNet, datasets: Sequence[ShapeDataset], device: torch.device | str) -> np.ndarray:
    """Compute (genes,) measured over expected counts, on all training data."""
    measured, expected = np.zeros((2, network.loadings.shape[1]))
    for dataset in datasets:
        if dataset.glass:
            continue
        predicted = predict_dataset(network, dataset, device)
        known = np.isfinite(predicted).all(axis=1)
        measured += dataset.measured.counts[np.flatnonzero(known)].sum(axis=0)
        expected += dataset.size_factor * predicted[known].sum(axis=0, dtype=float)
    return np.clip(measured / np.maximum(expected, 1e-12), 1 / MOST, MOST)


def score_card(
    card: Card,
    members: Sequence[PixNet],
    validation: Sequence[ShapeDataset],
    genes: Sequence[str],
    device: torch.device | str,
) -> Card:
    """Add the held-out Pearson of the members' mean to a card, for every gene that has one.

    Log expression is compared as it is, but profiles of rates are shares of the model's genes alone: the card then says
    what limits the scores of few genes.
    """
    if not validation:
        return card
    scores = gene_scores(members, validation, device)
    known = {gene: float(score) for gene, score in zip(genes, scores, strict=True) if np.isfinite(score)}
    measured = [dataset.measured for dataset in validation]
    ceiling = describe_ceiling(measured, len(genes)) if members[0].head.additive else ""
    return replace(card, validation=card.validation + ceiling, scores=known)


def join_curves(histories: Sequence[History]) -> dict[str, list[float]]:
    """Name the curves of every member."""
    named = {}
    for number, history in enumerate(histories, 1):
        named[f"loss {number}"] = history.loss
        if history.score:
            named[f"validation {number}"] = history.score
    return named
