"""SGN/EGGN-like: attention along the graph of neighboring spots of a section, on frozen features.

After EGGN (Yang et al., Pattern Recognition 145 (2024) 109966, arXiv 2210.16721) and its loss, squared error and half
of 1 - Pearson over the section's spots; exemplars are left out. A node sees its own crop, as published, or fields of
300 and 600 µm too, as wide as what ours is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from benchmarks.accuracy.features import FAR, NEAR, SPOT, Look, encoded
from benchmarks.accuracy.protocol import Study
from torch import Tensor, nn

from pixnet_sd.nn.training.loss import paper_loss

from .training import Inputs, Recipe, Standardise, start_at

WIDTH, HEADS, LAYERS, DROPOUT = 128, 4, 2, 0.3
NEIGHBORS = 9
"""With the spot itself."""


class GraphNetwork(nn.Module):
    def __init__(self, inputs: Sequence[Inputs], means: np.ndarray) -> None:
        super().__init__()
        nodes = [seen for seen, _ in inputs]
        self.enter = nn.Sequential(Standardise(nodes), nn.Dropout(DROPOUT), nn.Linear(nodes[0].shape[1], WIDTH))
        self.attend = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )
        last = start_at(nn.Linear(WIDTH, len(means)), means)
        self.leave = nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT), last)

    def forward(self, nodes: Tensor, places_um: Tensor) -> Tensor:
        """(spots, D), (spots, 2) of one whole section -> (spots, genes)."""
        state, apart = self.enter(nodes)[None], ~neighbors(places_um)
        for layer in self.attend:
            state = layer(state, src_mask=apart)
        return self.leave(state[0])


def neighbors(places_um: Tensor) -> Tensor:
    """(spots, spots): whether a column is among the nearest of a row, or the other way round."""
    nearest = torch.cdist(places_um, places_um).topk(NEIGHBORS, largest=False).indices
    near = torch.zeros(len(places_um), len(places_um), dtype=torch.bool).scatter_(1, nearest, True)
    return near | near.T


def see(study: Study, section: str, view: int, fields: Sequence[Look]) -> tuple[Inputs, float]:
    looks = [encoded(study, section, replace(look, view=view)) for look in fields]
    nodes = np.concatenate([look.whole for look in looks], axis=1)
    places = torch.from_numpy(study.section(section).centers_um).float()
    return (torch.from_numpy(nodes), places), sum(look.seconds for look in looks)


RECIPE = Recipe("graph", partial(see, fields=(SPOT,)), GraphNetwork, paper_loss, rates=(1e-3, 3e-3), epochs=60)
WIDE_RECIPE = replace(RECIPE, name="wide_graph", see=partial(see, fields=(SPOT, NEAR, FAR)))
