"""The eight rotations and reflections of a square. Torch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Quarter turns, and whether the result is mirrored: first the identity, then the other turns, then mirrored.
VIEWS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))


def apply_view(image: Tensor, turns: int, mirror: bool) -> Tensor:
    turned = torch.rot90(image, turns, (-2, -1))
    return turned.flip(-1) if mirror else turned


def undo_view(image: Tensor, turns: int, mirror: bool) -> Tensor:
    return torch.rot90(image.flip(-1) if mirror else image, -turns, (-2, -1))


def view_picture(
    features: Callable[[Tensor], Sequence[Tensor]], turns: int, mirror: bool
) -> Callable[[Tensor], list[Tensor]]:
    """Compute features of a rotated or mirrored image, and rotate the maps back."""

    def compute(image: Tensor) -> list[Tensor]:
        return [undo_view(one, turns, mirror) for one in features(apply_view(image, turns, mirror))]

    return compute
