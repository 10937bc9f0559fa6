"""iStar-like: a non-negative network on superpixels, averaged in the spot's disc, squared error.

After Zhang et al., Nature Biotechnology 42 (2024) 1372-1377: features of small and of large fields side by side, four
layers, an exponential linear unit that stays above 0. Superpixels are 16 µm here, not 8; the large fields are 300 and
600 µm around the spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.accuracy.data import SPOT_UM
from benchmarks.accuracy.features import FAR, NEAR, SPOT, encoded
from benchmarks.accuracy.protocol import Study
from torch import Tensor, nn

from .training import Inputs, Recipe, Standardise

COMPONENTS, WIDTH, LAYERS, DROPOUT = 128, 128, 3, 0.1
LEAK = 0.1


class Superpixels(nn.Module):
    means: Tensor

    def __init__(self, inputs: Sequence[Inputs], means: np.ndarray) -> None:
        super().__init__()
        small, wide = (list(part) for part in zip(*inputs, strict=True))
        self.small = nn.Sequential(Standardise(small), nn.Linear(small[0].shape[-1], COMPONENTS, bias=False))
        self.wide = nn.Sequential(Standardise(wide), nn.Linear(wide[0].shape[-1], COMPONENTS, bias=False))
        widths = [COMPONENTS] + [WIDTH] * LAYERS
        hidden = [layer for pair in zip(widths, widths[1:], strict=False) for layer in dense(*pair)]
        self.hidden, self.last = nn.Sequential(*hidden), nn.Linear(WIDTH, len(means))
        self.register_buffer("means", torch.from_numpy(means).float())

    def forward(self, small: Tensor, wide: Tensor) -> Tensor:
        """(spots, superpixels, D), (spots, D') -> (spots, genes): the mean of what each superpixel has."""
        state = self.hidden(self.small(small) + self.wide(wide)[:, None])
        positive = F.elu(self.last(state)) + 1
        return positive.mean(1) * self.means


def dense(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.LeakyReLU(LEAK), nn.Dropout(DROPOUT), nn.Linear(before, after)


def in_disc(side: int) -> np.ndarray:
    """(side, side): which cells of the spot's crop have their middle in the spot."""
    middle = ((np.arange(side) + 0.5) / side - 0.5) * SPOT.field_um
    inside: np.ndarray = np.hypot(middle[:, None], middle) <= SPOT_UM / 2
    return inside


def see(study: Study, section: str, view: int) -> tuple[Inputs, float]:
    own, near, far = (encoded(study, section, replace(look, view=view)) for look in (SPOT, NEAR, FAR))
    small = own.cells[:, in_disc(own.cells.shape[1])]
    wide = np.concatenate([near.whole, far.whole], axis=1)
    return (torch.from_numpy(small), torch.from_numpy(wide)), own.seconds + near.seconds + far.seconds


RECIPE = Recipe("istar", see, Superpixels, F.mse_loss, epochs=20, batch=64)
