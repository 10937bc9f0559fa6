"""ST-Net-like: a network of crops, fine-tuned from ImageNet, one linear layer to the genes, squared error.

After He et al., Nature Biomedical Engineering 4 (2020) 827-834, with the encoder that all rows share in the place of
DenseNet-121, AdamW for SGD, and crops of 112 µm at 112 px. The last two of seven stages learn, which have most of the
parameters; what the others give is kept for four turns of each crop. Predictions are means over these turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.accuracy.features import BATCH, Look, batches, build_encoder, crops, kept, normalized
from benchmarks.accuracy.protocol import Study
from torch import Tensor, nn

from .training import Inputs, Recipe, start_at

LOOK = Look(side_px=112)
FROZEN_STAGES = 5
TURNS = 4
WIDTH = 1280


class CropNetwork(nn.Module):
    """The part that learns."""

    def __init__(self, means: np.ndarray) -> None:
        super().__init__()
        encoder = build_encoder()
        self.high = nn.Sequential(*encoder.blocks[FROZEN_STAGES:], encoder.conv_head, encoder.bn2, encoder.global_pool)
        self.last = start_at(nn.Linear(WIDTH, len(means)), means)
        nn.init.zeros_(self.last.weight)

    def train(self, mode: bool = True) -> CropNetwork:
        """Only the last layer: batch norms keep the statistics of ImageNet."""
        super().train(False)
        self.last.train(mode)
        return self

    def forward(self, turns: Tensor) -> Tensor:
        """(B, turns, channels, h, w) of the frozen part -> (B, genes), the mean over turns."""
        seen = self.high(turns.flatten(0, 1)).flatten(1)
        return self.last(F.dropout(seen, 0.2, self.last.training)).unflatten(0, turns.shape[:2]).mean(1)


def see(study: Study, section: str, view: int) -> tuple[Inputs, float]:
    look = replace(LOOK, view=view)
    seen = kept(study, section, f"turns-{look}", lambda: turned(crops(study, section, look)))
    return (torch.from_numpy(seen.cells),), seen.seconds


@torch.inference_mode()
def turned(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """(spots, turns, channels, h, w): what the frozen part makes of each crop."""
    encoder, found = build_encoder(), []
    low = nn.Sequential(encoder.conv_stem, encoder.bn1, *encoder.blocks[:FROZEN_STAGES])
    for batch in batches(pictures):
        views = [torch.rot90(normalized(batch), turn, (2, 3)) for turn in range(TURNS)]
        found.append(torch.stack([low(view) for view in views], dim=1).numpy())
    return np.concatenate(found)


def build(inputs: Sequence[Inputs], means: np.ndarray) -> nn.Module:
    return CropNetwork(means)


def one_turn(inputs: Inputs, random: torch.Generator) -> Inputs:
    """The same for a batch."""
    turn = int(torch.randint(TURNS, (), generator=random))
    return (inputs[0][:, turn : turn + 1],)


RECIPE = Recipe("stnet", see, build, F.mse_loss, rates=(3e-4,), epochs=10, batch=BATCH, augment=one_turn)
