"""Draw the pixels of each shape that a decoder of single pixels learns from. Torch and numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pixnet_sd._grid import Window
from pixnet_sd._writing import require_room
from pixnet_sd.nn.cache import PRECISION
from pixnet_sd.nn.crops import Crop
from pixnet_sd.nn.material import DENSE_CROPS, Material
from pixnet_sd.nn.network import PixNet
from pixnet_sd.nn.readout import Readout
from pixnet_sd.nn.samples import Samples


@torch.inference_mode()
def draw_samples(
    network: PixNet, readout: Readout, material: Material, most: int, path: Path, device: torch.device | str
) -> Samples:
    """All pixels of shapes that have few, with their exact weights, and `most` of the others."""
    batches = list(material.batches(DENSE_CROPS))
    count = min(most, max(int(batch.weights.crow_indices().diff().max()) for batch in batches))
    shapes = len(material.measured.shapes)
    needed = shapes * readout.dim * count * np.dtype(PRECISION).itemsize
    require_room(path.parent, needed, f"Pixels of {shapes:,} shapes", otherwise="let TMPDIR name a larger disk")
    features = np.lib.format.open_memmap(path, "w+", PRECISION, (shapes, readout.dim, count))
    weights = np.zeros((shapes, count), np.float32)
    for batch in batches:
        dense = readout.dense(material.maps(network, batch.crops, device)).movedim(1, 0).flatten(1)
        for row, own in zip(batch.rows, rows_of(batch.weights), strict=True):
            pixels, weights[row] = choose(*own, count)
            features[row] = dense[:, torch.from_numpy(pixels).to(dense.device)].cpu().numpy()
    return Samples(features, weights)


def groups_of(material: Material, samples: Samples, most: int) -> list[Crop]:
    """The shapes anew, mixed, so that each group has about `most` pixels: a batch costs the same for any size.

    Nothing is read around shapes whose pixels are drawn, so a group has no window.
    """
    rows = np.random.default_rng(0).permutation(np.concatenate([crop.rows for crop in material.crops]))
    size = max(1, most // samples.weights.shape[1])
    return [Crop(Window(0, 0, 0, 0), own) for own in np.array_split(rows, -(-len(rows) // size))]


def rows_of(weights: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and weights of each row of a sparse matrix."""
    csr = sp.csr_array((weights.values().numpy(), weights.col_indices().numpy(), weights.crow_indices().numpy()))
    return [(csr.indices[a:b], csr.data[a:b]) for a, b in zip(csr.indptr, csr.indptr[1:], strict=False)]


def choose(pixels: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pixels and what each stands for: all of them where they are no more, else evenly along their area."""
    if len(pixels) <= count:
        unused = (0, count - len(pixels))
        return np.pad(pixels, unused), np.pad(weights, unused)
    area = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(area, (np.arange(count) + 0.5) / count * area[-1])
    return pixels[places.clip(max=len(pixels) - 1)], np.full(count, area[-1] / count, np.float32)
