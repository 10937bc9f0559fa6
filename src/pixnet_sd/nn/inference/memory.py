"""Estimate the memory of a network without allocating it. Torch only.

The network runs on torch's "meta" device, where tensors have sizes but no values, and their bytes are counted.
"""

from __future__ import annotations

import weakref
from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pixnet_sd.nn.inference.predict import InferenceConfig, rotated_views
from pixnet_sd.nn.inference.tiling import AHEAD, READERS
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.network import PixNet

# For each pixel read: bytes of batches in the queue and of those being read, and floats in both memory formats.
PIXEL_BYTES = 3 * (AHEAD + 1) + 12 * READERS + 24
# On a CPU the total was 1.5 to 1.7 times the counted bytes, for one small network: torch's convolutions perhaps
# allocate copies that are not counted.
SCRATCH = 2
# Finished blocks in memory at once: just computed, cut out, being written.
BLOCKS = 6
# Of the weights in training: themselves, gradients, two moments, the running mean, the best so far.
COPIES = 6
# Of shapes x genes in float32, in the loss and its gradient.
TABLES = 24


class MemoryAccount(TorchDispatchMode):
    """Counts the bytes of all tensors that are created while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.live, self.peak = 0, 0, 0
        self.holders: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, list | tuple) else [found]:
            if isinstance(one, Tensor) and one.layout is torch.strided:  # sparse ones are made of counted parts
                self.enter(one)
        return found

    def enter(self, tensor: Tensor) -> None:
        """Count a tensor; views share their memory, which is freed with the last of them."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self.holders[key]:
            self.made, self.live = self.made + size, self.live + size
            self.peak = max(self.peak, self.live)
        self.holders[key] += 1
        weakref.finalize(tensor, self.leave, key, size)

    def leave(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            self.live -= size


def rehearse_memory(network: nn.Module, shape: tuple[int, int, int, int], *, augment: bool = False) -> MemoryAccount:
    """Count what the network allocates for images of this shape (B, 3, H, W), or for their eight views one by one."""
    twin = deepcopy(network).to("meta").eval()
    compute = rotated_views(twin) if augment else twin
    image = torch.empty(shape, device="meta")
    account = MemoryAccount()
    with torch.no_grad(), account:
        compute(image)
    return account


def predict_bytes(network: Ensemble, config: InferenceConfig) -> int:
    """Compute an upper bound of the memory of a prediction beside the model, for a slide of any size.

    A batch of tiles with their margins: some as bytes read ahead, one as floats, and the network's peak on it. Then
    some finished blocks, and the convolutions, which are folded and reordered in a copy. A map in memory, not in a
    store, comes on top.
    """
    read_px = config.tile_px + 2 * network.margin
    pixels = config.batch_size * read_px**2
    peak = rehearse_memory(network, (config.batch_size, 3, read_px, read_px), augment=config.augment).peak
    block = 4 * len(network.loadings) * (config.tile_px // network.stride) ** 2 * config.batch_size
    convolutions = sum(4 * weights.numel() for weights in network.parameters() if weights.dim() == 4)
    return pixels * PIXEL_BYTES + SCRATCH * peak + BLOCKS * block + convolutions


def train_bytes(network: PixNet, crop_px: int, crops: int, shapes: int, genes: int) -> int:
    """Compute an upper bound of the memory of a training beside pixels and counts, without features on disk.

    All that the network allocates for a batch of crops may stay for the gradient, which takes as much again as the
    network's peak; the weights are stored in several copies; and of the batch's shapes there are some tables of genes.
    """
    account = rehearse_memory(network, (crops, 3, crop_px, crop_px))
    weights = sum(4 * parameter.numel() for parameter in network.parameters())
    return account.made + account.peak + COPIES * weights + TABLES * 4 * shapes * genes
