"""The training loop: epochs, batches, forward, loss, step. Torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._metrics.scores import column_means, mean_of_known
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.training import distributed
from pixnet_sd.nn.training.augment import CropView, random_view
from pixnet_sd.nn.training.crops import Crop, crop_rows
from pixnet_sd.nn.training.dataset import ShapeDataset
from pixnet_sd.nn.training.evaluate import score_predictions
from pixnet_sd.nn.training.loss import glass_loss, masked_loss, pool_weighted
from pixnet_sd.nn.training.state import History, TrainState

# Crops at once, at most, without gradient.
PREDICTED_CROPS = 64
# Input pixels that are decoded at once on a CPU: tensors of a few MB stay in its caches, and no pages are requested
# again and again. Up to three times as fast as a whole batch.
CPU_PIXELS = 2**17
# The same for sampled pixels.
CPU_SAMPLES = 2**14


def train_network(state: TrainState, after_epoch: Callable[[History], object]) -> None:
    """Train to the end; the network gets the averaged weights, with validation data those of the best epoch."""
    while not state.finished:
        train_epoch(state)
        after_epoch(state.history)
    state.network.load_state_dict(state.best)
    state.network.eval()


def train_epoch(state: TrainState) -> None:
    """Train once on all shapes, then validate. Random numbers depend on the seed and the epoch alone."""
    epoch, history = len(state.history.loss), state.history
    seed = int(np.random.SeedSequence([state.config.seed, epoch]).generate_state(1)[0])
    torch.manual_seed(seed)
    views = torch.Generator().manual_seed(seed)
    state.network.train()
    losses = [train_step(state, dataset, crops, views) for dataset, crops in shuffle_batches(state, seed)]
    history.loss.append(float(np.mean(losses)))
    if not np.isfinite(history.loss[-1]):
        raise PixnetRuntimeError(
            f"Training diverged in epoch {epoch + 1}: its loss is {history.loss[-1]}. Lower lr={state.config.peak_lr}."
        )
    if state.validation:
        history.score.append(mean_of_known(gene_scores([state.averaged], state.validation, state.device)))
    if history.best == epoch:
        state.best = deepcopy(state.averaged.state_dict())


def shuffle_batches(state: TrainState, seed: int) -> Iterator[tuple[ShapeDataset, list[Crop]]]:
    """Yield batches of all datasets in random order, each of crops of one dataset."""
    random = np.random.default_rng(seed)
    plan = []
    for dataset in state.training:
        order = random.permutation(len(dataset.crops))
        # Equal parts: in a small last batch, correlations would be noise.
        plan += [(dataset, part) for part in np.array_split(order, -(-len(order) // state.config.crops))]
    for index in random.permutation(len(plan)):
        dataset, part = plan[index]
        yield dataset, [dataset.crops[k] for k in part]


def train_step(state: TrainState, dataset: ShapeDataset, crops: Sequence[Crop], views: torch.Generator) -> float:
    """Update the weights by the loss of one batch."""
    state.set_learning_rates()
    loss = batch_loss(state, dataset, crops, random_view(views) if state.config.augment else None)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    distributed.average_gradients(state.trained)
    nn.utils.clip_grad_norm_(state.trained, state.config.clip)
    state.optimizer.step()
    state.steps += 1
    state.update_average()
    return loss.item()


def batch_loss(state: TrainState, dataset: ShapeDataset, crops: Sequence[Crop], view: CropView | None) -> Tensor:
    """Compute the loss of a batch."""
    network = state.network
    pooled = pool_batch(network, dataset, crops, state.device, view)
    predicted = pooled @ network.loadings + network.intercept
    if dataset.glass:
        return glass_loss(predicted)
    measured = dataset.counts(crops, state.device)
    return masked_loss(network.head.loss, predicted, measured, network.head.dispersion, state.config.rate)


def pool_batch(
    network: PixNet, dataset: ShapeDataset, crops: Sequence[Crop], device: torch.device | str, view: CropView | None
) -> Tensor:
    """Compute (shapes, K) of all crops; with several processes, each computes a part and gets the whole."""
    ends = np.cumsum([0] + [len(crop.rows) for crop in crops])
    own = range(distributed.process_rank(), len(crops), distributed.process_count())
    # A process may have no crop of its own.
    pooled = [torch.zeros(0, len(network.loadings), device=device)]
    pooled += [
        pool_part(network, dataset, some, device, view)
        for some in split_crops(dataset, [crops[k] for k in own], device)
    ]
    places = np.concatenate([np.zeros(0, int)] + [np.arange(ends[k], ends[k + 1]) for k in own])
    return distributed.gather_rows(torch.cat(pooled), torch.from_numpy(places).to(device), int(ends[-1]))


def split_crops(dataset: ShapeDataset, crops: Sequence[Crop], device: torch.device | str) -> Iterator[list[Crop]]:
    """Split crops into parts of the size that suits the device."""
    if not crops:
        return
    size = len(crops)
    if torch.device(device).type == "cpu" and dataset.samples is not None:
        shapes = np.mean([len(crop.rows) for crop in crops])
        size = int(CPU_SAMPLES / shapes / dataset.samples.weights.shape[1])
    elif torch.device(device).type == "cpu":
        size = CPU_PIXELS // crops[0].window.area
    size = max(1, min(size, dataset.at_once or size))
    yield from (list(crops[start : start + size]) for start in range(0, len(crops), size))


def pool_part(
    network: PixNet, dataset: ShapeDataset, crops: list[Crop], device: torch.device | str, view: CropView | None
) -> Tensor:
    """Compute (shapes, K) of some crops; where memory is short, again for the gradient, with the same dropout."""
    if dataset.at_once is None:
        return pool_programs(network, dataset, crops, device, view)
    recomputed: Tensor = checkpoint(pool_programs, network, dataset, crops, device, view, use_reentrant=False)
    return recomputed


def pool_programs(
    network: PixNet,
    dataset: ShapeDataset,
    crops: Sequence[Crop],
    device: torch.device | str,
    view: CropView | None = None,
) -> Tensor:
    """Compute (shapes, K) of some crops, in their order: sums of rates, or means of log expression."""
    if dataset.samples is not None:
        features, weights = dataset.samples.read(crop_rows(crops), device)
        programs = network.head(network.decoder.decode_pixels(features))[..., 0]
        return network.head.normalize(torch.einsum("skm,sm->sk", programs, weights), weights.sum(1, keepdim=True))
    sparse, area_um2 = dataset.weights(crops, device)
    programs = network.decode(dataset.maps(network, crops, device, view))
    pooled = pool_weighted(programs if view is None else view.undo(programs), sparse)
    return network.head.normalize(pooled, area_um2)


@torch.inference_mode()
def predict_dataset(network: PixNet, dataset: ShapeDataset, device: torch.device | str) -> np.ndarray:
    """Predict (shapes, genes) of a whole dataset; NaN where a shape has no area."""
    predicted = np.full(dataset.measured.counts.shape, np.nan, np.float32)
    for some in dataset.split(PREDICTED_CROPS):
        for crops in split_crops(dataset, some, device):
            pooled = pool_programs(network, dataset, crops, device)
            predicted[crop_rows(crops)] = (pooled @ network.loadings + network.intercept).cpu().numpy()
    return predicted


def gene_scores(
    members: Sequence[PixNet], validation: Sequence[ShapeDataset], device: torch.device | str
) -> np.ndarray:
    """Compute (genes,) Pearson between log profiles within each dataset, mean over those, of the members' mean."""
    scores = []
    for dataset in validation:
        predicted = np.mean([predict_dataset(member.to(device), dataset, device) for member in members], axis=0)
        scores.append(score_predictions(predicted, dataset.measured, members[0].head.additive))
    return column_means(np.array(scores))
