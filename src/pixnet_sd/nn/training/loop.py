"""Train one network on slides: batches, losses, a learning rate that rises and falls, weights averaged. Torch only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._metrics.scores import log_profile
from pixnet_sd.nn.network.heads import RateHead
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.network.pixelwise import PixelDecoder
from pixnet_sd.nn.training import distributed
from pixnet_sd.nn.training.augment import CropView, random_view
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.crops import Crop
from pixnet_sd.nn.training.dataset import ShapeDataset, TrainingSet
from pixnet_sd.nn.training.evaluate import mean_score, pool_crops, split_crops
from pixnet_sd.nn.training.loss import BatchCounts, paper_loss, rate_loss


@dataclass
class History:
    """How training went, epoch by epoch."""

    loss: list[float] = field(default_factory=list)
    """Mean over the batches."""
    score: list[float] = field(default_factory=list)
    """Pearson on the validation data, mean over genes and sections; empty without such data."""

    @property
    def latest(self) -> str:
        """In words, for a progress bar."""
        return f"loss {self.loss[-1]:.3f}" + (f", validation {self.score[-1]:.3f}" if self.score else "")

    @property
    def best(self) -> int:
        return int(np.nanargmax(self.score)) if np.isfinite(self.score).any() else len(self.loss) - 1


class TrainState:
    """All that changes while a network is trained; between epochs it can be stored and taken up again."""

    def __init__(self, network: PixNet, lesson: TrainingSet, config: TrainConfig) -> None:
        self.network, self.lesson, self.config = network.to(lesson.device), lesson, config
        network.encoder.set_trainable(config.encoder)
        set_dropout(network, config)
        self.averaged = deepcopy(network).requires_grad_(False).eval()
        self.best = deepcopy(network.state_dict())
        self.optimiser = torch.optim.AdamW(parameter_groups(network, config))
        self.steps, self.history = 0, History()
        batches = sum(-(-len(material.crops) // config.crops) for material in lesson.training)
        self.epochs = -(-config.steps // batches)
        self.last_step = self.epochs * batches
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]

    @property
    def finished(self) -> bool:
        done = len(self.history.loss)
        patience = max(1, round(self.config.patience * self.epochs))
        tired = bool(self.history.score) and done - 1 - self.history.best >= patience
        return done >= self.epochs or tired

    def epoch(self) -> None:
        """One pass over all shapes, then an examination. What is random depends on the seed and the epoch alone."""
        number = len(self.history.loss)
        torch.manual_seed(derive_seed(self.config.seed, number))
        self.network.train()
        views = torch.Generator().manual_seed(derive_seed(self.config.seed, number))
        losses = [self.step(*work, views) for work in plan_epoch(self.lesson, self.config, number)]
        self.history.loss.append(float(np.mean(losses)))
        if not np.isfinite(self.history.loss[-1]):
            raise PixnetRuntimeError(
                f"Training diverged in epoch {number + 1}: its loss is {self.history.loss[-1]}. "
                f"Lower lr={self.config.lr}."
            )
        if self.lesson.validation:
            self.history.score.append(mean_score(self.averaged, self.lesson.validation, self.lesson.device))
        if self.history.best == number:
            self.best = deepcopy(self.averaged.state_dict())

    def step(self, number: int, crops: Sequence[Crop], views: torch.Generator) -> float:
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * learning_rate_factor(self.steps, self.last_step, self.config.warmup)
        loss = batch_loss(self.network, self.lesson, self.config, number, crops, views)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        distributed.average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, self.config.clip)
        self.optimiser.step()
        self.steps += 1
        update_average(self.averaged, self.network, min(self.config.ema, self.steps / (self.steps + 10)))
        return loss.item()


def fit_member(run: TrainState, tick: Callable[[History], object]) -> History:
    """Train to the end; the network gets the averaged weights, those of the best epoch where there is validation.

    `tick` is called after each epoch.
    """
    while not run.finished:
        run.epoch()
        tick(run.history)
    run.network.load_state_dict(run.best)
    run.network.eval()
    return run.history


def plan_epoch(lesson: TrainingSet, config: TrainConfig, epoch: int) -> Iterator[tuple[int, list[Crop]]]:
    """Batches of all materials, mixed: the number of a material and its crops."""
    random = np.random.default_rng(derive_seed(config.seed, epoch))
    plan = []
    for number, material in enumerate(lesson.training):
        order = random.permutation(len(material.crops))
        plan += [(number, part) for part in np.array_split(order, -(-len(order) // config.crops))]
    for index in random.permutation(len(plan)):
        number, part = plan[index]
        yield number, [lesson.training[number].crops[k] for k in part]


def batch_loss(
    network: PixNet,
    lesson: TrainingSet,
    config: TrainConfig,
    number: int,
    crops: Sequence[Crop],
    views: torch.Generator,
) -> Tensor:
    """Of a batch; where there are several processes, each computes a part of it."""
    material = lesson.training[number]
    sums = pooled_batch(network, material, crops, lesson.device, random_view(views) if config.augment else None)
    rows = np.concatenate([crop.rows for crop in crops])
    counts = material.measured.counts[rows].toarray().astype(np.float32)
    totals = material.measured.totals[rows].astype(np.float32)
    predicted = sums @ network.loadings + network.intercept
    if isinstance(network.head, RateHead):
        factors = torch.full((len(rows),), lesson.size_factors[number])
        sections = torch.zeros(len(rows), dtype=torch.long)
        measured = BatchCounts(torch.from_numpy(counts), factors, sections, torch.from_numpy(totals)).to(lesson.device)
        return rate_loss(predicted, measured, network.head.dispersion, config.rate)
    known = totals > 0
    if not known.any():
        return 0.0 * predicted.sum()
    target = torch.from_numpy(log_profile(counts[known], totals[known]).astype(np.float32)).to(lesson.device)
    return paper_loss(predicted[torch.from_numpy(known).to(lesson.device)], target)


def pooled_batch(
    network: PixNet, material: ShapeDataset, crops: Sequence[Crop], device: torch.device | str, view: CropView | None
) -> Tensor:
    """(shapes, K) of all crops, in their order."""
    ends = np.cumsum([0] + [len(crop.rows) for crop in crops])
    own = range(distributed.process_rank(), len(crops), distributed.process_count())
    sums = [torch.zeros(0, len(network.loadings), device=device)]
    sums += [
        pool_crops(network, material, some, device, view)
        for some in split_crops(material, [crops[k] for k in own], device)
    ]
    places = np.concatenate([np.zeros(0, int)] + [np.arange(ends[k], ends[k + 1]) for k in own])
    return distributed.gather_rows(torch.cat(sums), torch.from_numpy(places).to(device), int(ends[-1]))


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move a running mean of weights; its first steps follow quickly, so the start is soon forgotten."""
    for own, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(new, 1 - decay)
        else:
            own.copy_(new)


def parameter_groups(network: PixNet, config: TrainConfig) -> list[dict[str, object]]:
    """Only matrices of the decoder decay; the encoder learns at its own rate."""
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    decaying = {id(parameter) for parameter in network.decoder.parameters() if parameter.ndim > 1}
    own = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rest = [parameter for parameter in own if id(parameter) not in encoder | decaying]
    groups: list[dict[str, object]] = [
        {"params": [p for p in own if id(p) in decaying], "lr": config.lr, "weight_decay": config.weight_decay},
        {"params": rest, "lr": config.lr, "weight_decay": 0.0},
        {"params": [p for p in own if id(p) in encoder], "lr": config.encoder_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear up to 1, then half a cosine down to 0."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def derive_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def set_dropout(network: PixNet, config: TrainConfig) -> None:
    if isinstance(network.decoder, PixelDecoder):
        network.decoder.dropout.p, network.decoder.readout.hide.p = config.dropout, config.feature_dropout
