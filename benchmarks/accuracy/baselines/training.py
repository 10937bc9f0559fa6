"""How the trained baselines are trained: one loop for all, and settings chosen without the section that is tested.

The learning rate and the number of epochs are chosen on one training section that is left out of an inner run, the
first seed's; then the network learns from all training sections for so many epochs. Like ours, what is kept is a
running mean of the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.accuracy.protocol import Fold, Prediction, Study
from benchmarks.accuracy.results import remembered
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pixnet_sd._metrics.scores import pearson
from pixnet_sd.nn.network.views import VIEWS

DECAY = 0.98
CLIP = 1.0
WEIGHT_DECAY = 1e-2
Inputs = tuple[Tensor, ...]
"""What a network sees of one section: each tensor has one row for each spot."""


@dataclass(frozen=True)
class Recipe:
    """A baseline: its name, what it sees, its network and its loss."""

    name: str
    see: Callable[[Study, str, int], tuple[Inputs, float]]
    """Study, section and view -> what it sees, and the seconds that this took."""
    build: Callable[[Sequence[Inputs], np.ndarray], nn.Module]
    """From what it sees of the training sections and the genes' means; `forward(*inputs)` gives (spots, genes)."""
    loss: Callable[[Tensor, Tensor], Tensor]
    rates: tuple[float, ...] = (1e-3,)
    """Learning rates to choose from."""
    epochs: int = 60
    """At most."""
    batch: int | None = None
    """Spots in a batch; None for whole sections, where a network looks from spot to spot."""
    augment: Callable[[Inputs, torch.Generator], Inputs] = lambda inputs, generator: inputs
    """Another view of a batch."""


@dataclass
class Lesson:
    """Sections with their targets."""

    inputs: list[Inputs]
    targets: list[Tensor]
    seconds: float
    """What seeing the sections took."""


def run(recipe: Recipe, study: Study, fold: Fold, seed: int) -> Prediction:
    """Choose the settings unless an earlier seed has, train, predict."""
    path = study.folder / "results" / study.data / recipe.name / f"{fold.name}-chosen.json"
    chosen = remembered(path, lambda: choose(recipe, study, fold))
    lesson = lesson_of(recipe, study, fold, fold.training)
    start = time.perf_counter()
    *_, network = train(recipe, lesson, chosen["rate"], chosen["epochs"], seed)
    trained = time.perf_counter()
    seen = [recipe.see(study, fold.test, view) for view in range(len(VIEWS))]
    values = np.stack([predict(network, inputs, recipe.batch) for inputs, _ in seen])
    predicted = (time.perf_counter() - trained) / len(VIEWS) + seen[0][1]
    return Prediction(values, trained - start + lesson.seconds + chosen["seconds"], predicted, chosen=chosen)


def choose(recipe: Recipe, study: Study, fold: Fold) -> dict[str, Any]:
    """The learning rate and the number of epochs that do best on the inner left-out section."""
    inner, start = fold.inner(), time.perf_counter()
    lesson, held = (lesson_of(recipe, study, inner, names) for names in (inner.training, (inner.test,)))
    found = []
    for rate in recipe.rates:
        for epoch, network in enumerate(train(recipe, lesson, rate, recipe.epochs, seed=0), 1):
            found.append((score(network, held, recipe.batch), rate, epoch))
    best, rate, epochs = max(found)
    return {"rate": rate, "epochs": epochs, "inner_pcc": best, "seconds": time.perf_counter() - start}


def lesson_of(recipe: Recipe, study: Study, fold: Fold, names: Sequence[str]) -> Lesson:
    seen = [recipe.see(study, name, 0) for name in names]
    targets = [torch.from_numpy(fold.target(study.section(name))).float() for name in names]
    return Lesson([inputs for inputs, _ in seen], targets, sum(seconds for _, seconds in seen))


def train(recipe: Recipe, lesson: Lesson, rate: float, epochs: int, seed: int) -> Iterator[nn.Module]:
    """The averaged network after each epoch."""
    torch.manual_seed(seed)
    random, views = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    network = recipe.build(lesson.inputs, torch.cat(lesson.targets).mean(0).numpy())
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY)
    averaged = AveragedModel(network, avg_fn=running_mean)
    for _ in range(epochs):
        network.train()
        for section, rows in plan(lesson, recipe.batch, random):
            inputs = recipe.augment(tuple(one[rows] for one in lesson.inputs[section]), views)
            loss = recipe.loss(network(*inputs), lesson.targets[section][rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimiser.step()
            averaged.update_parameters(network)
        yield averaged.eval()


def running_mean(averaged: Tensor, new: Tensor, steps: Tensor | int) -> Tensor:
    """As in the package: its first steps follow quickly, so the start is soon forgotten."""
    return averaged.lerp(new, 1 - min(DECAY, float(steps / (steps + 10))))


def plan(lesson: Lesson, batch: int | None, random: np.random.Generator) -> list[tuple[int, np.ndarray]]:
    """Batches of one section each, in a random order."""
    parts = []
    for section, target in enumerate(lesson.targets):
        order = random.permutation(len(target))
        parts += [(section, rows) for rows in np.array_split(order, -(-len(order) // (batch or len(order))))]
    return [parts[index] for index in random.permutation(len(parts))]


@torch.inference_mode()
def predict(network: nn.Module, inputs: Inputs, batch: int | None) -> np.ndarray:
    size = batch or len(inputs[0])
    parts = [network(*(one[start : start + size] for one in inputs)) for start in range(0, len(inputs[0]), size)]
    return torch.cat(parts).numpy()


def score(network: nn.Module, held: Lesson, batch: int | None) -> float:
    """Mean over genes and sections; a gene that a network says nothing of scores 0."""
    pairs = zip(held.inputs, held.targets, strict=True)
    found = [pearson(predict(network, inputs, batch), target.numpy()) for inputs, target in pairs]
    return float(np.mean(np.nan_to_num(found)))


def row(recipe: Recipe) -> Callable[[Study, Fold, int], Prediction]:
    return partial(run, recipe)


class Standardise(nn.Module):
    """Channels, the last axis, at mean 0 and SD 1 over the training sections."""

    mean: Tensor
    scale: Tensor

    def __init__(self, sections: Sequence[Tensor]) -> None:
        super().__init__()
        values = torch.cat([section.flatten(0, -2) for section in sections])
        self.register_buffer("mean", values.mean(0))
        self.register_buffer("scale", values.std(0).clamp_min(1e-4))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.scale


def start_at(layer: nn.Linear, means: np.ndarray) -> nn.Linear:
    """A last layer that begins at the genes' means."""
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(means))
    return layer
