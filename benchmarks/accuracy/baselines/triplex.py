"""TRIPLEX-like: a spot's own crop, its surroundings, and all spots of the section, joined by attention.

After Chung et al., CVPR 2024 (arXiv 2403.07592): three branches and their fusion each predict, and the branches also
follow the fusion. Here all branches start from the frozen features that the other rows have; the crop is a grid of 3 x
3 cells, its surroundings fields of 300 and 600 µm in 2 x 2 and 3 x 3, the section every spot with its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.accuracy.features import FAR, NEAR, SPOT, encoded
from benchmarks.accuracy.protocol import Study
from torch import Tensor, nn

from .training import Inputs, Recipe, Standardise, start_at

WIDTH, HEADS, DROPOUT = 96, 4, 0.3
FREQUENCIES_UM = (400.0, 1600.0, 6400.0)
"""Wavelengths in which a place is written."""
FOLLOWING = 0.3
"""Weight of following the fusion, the rest goes to the target."""


class Triplex(nn.Module):
    def __init__(self, inputs: Sequence[Inputs], means: np.ndarray) -> None:
        super().__init__()
        own, wide, _ = (list(part) for part in zip(*inputs, strict=True))
        self.own, self.wide = (nn.Sequential(Standardise(part), *projection(part)) for part in (own, wide))
        self.place = nn.Linear(4 * len(FREQUENCIES_UM), WIDTH)
        self.within, self.around, self.across = (block() for _ in range(3))
        self.fuse = nn.ModuleList(nn.MultiheadAttention(WIDTH, HEADS, DROPOUT, batch_first=True) for _ in range(2))
        self.heads = nn.ModuleList(head(means) for _ in range(4))

    def forward(self, own: Tensor, wide: Tensor, places_um: Tensor) -> Tensor:
        """(spots, cells, D), (spots, cells, D), (spots, 2) -> the fusion's (spots, genes); all four when learning."""
        own, wide = self.within(self.own(own)), self.around(self.wide(wide))
        spots = self.across((own.mean(1) + self.place(waves(places_um)))[None])
        query = own.mean(1, keepdim=True)
        near = self.fuse[0](query, wide, wide, need_weights=False)[0][:, 0]
        far = self.fuse[1](query.movedim(0, 1), spots, spots, need_weights=False)[0][0]
        branches = [query[:, 0] + near + far, query[:, 0], wide.mean(1), spots[0]]
        predicted = torch.stack([predict(branch) for predict, branch in zip(self.heads, branches, strict=True)])
        return predicted if self.training else predicted[0]


def projection(sections: Sequence[Tensor]) -> tuple[nn.Module, ...]:
    return nn.Dropout(DROPOUT), nn.Linear(sections[0].shape[-1], WIDTH)


def block() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, batch_first=True, norm_first=True)


def head(means: np.ndarray) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT), start_at(nn.Linear(WIDTH, len(means)), means))


def waves(places_um: Tensor) -> Tensor:
    """Sine and cosine of both coordinates from the section's middle."""
    centered = places_um - places_um.mean(0)
    angles = torch.cat([2 * torch.pi * centered / length for length in FREQUENCIES_UM], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared errors of all four, and of each branch to the fusion, which does not follow back."""
    fusion, branches = predicted[0], predicted[1:]
    following = F.mse_loss(branches, fusion.detach().expand_as(branches))
    aimed = F.mse_loss(branches, target.expand_as(branches))
    return F.mse_loss(fusion, target) + FOLLOWING * following + (1 - FOLLOWING) * aimed


def see(study: Study, section: str, view: int) -> tuple[Inputs, float]:
    looks = [encoded(study, section, replace(look, view=view)) for look in (SPOT, NEAR, FAR)]
    own, near, far = (torch.from_numpy(look.cells) for look in looks)
    places = torch.from_numpy(study.section(section).centers_um).float()
    inputs = coarse(own, 3), torch.cat([coarse(near, 2), coarse(far, 3)], 1), places
    return inputs, sum(look.seconds for look in looks)


def coarse(cells: Tensor, side: int) -> Tensor:
    """(spots, 7, 7, D) -> (spots, side², D): fewer cells are fewer seconds."""
    return F.adaptive_avg_pool2d(cells.movedim(-1, 1), side).flatten(2).movedim(1, -1)


RECIPE = Recipe("triplex", see, Triplex, loss, epochs=50)
