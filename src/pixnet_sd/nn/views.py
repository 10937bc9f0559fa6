"""The eight ways to turn and mirror a square. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor

VIEWS = tuple((turns, mirror) for turns in range(4) for mirror in (False, True))
"""Quarter turns, and whether the result is mirrored."""


def turn(image: Tensor, turns: int, mirror: bool) -> Tensor:
    turned = torch.rot90(image, turns, (-2, -1))
    return turned.flip(-1) if mirror else turned


def turn_back(image: Tensor, turns: int, mirror: bool) -> Tensor:
    return torch.rot90(image.flip(-1) if mirror else image, -turns, (-2, -1))
