"""What surrounds a pixel: means over large boxes, perhaps of what is seen at a coarser resolution. Torch only.

Both are local, so the network keeps a finite margin. On real sections surroundings of up to 600 um raise the
correlation more than any other change of architecture, and a coarse look at them serves as well as a fine one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pixnet_sd.nn.pyramid import box_mean, pool


def box_sides(context_px: Sequence[float], stride: int) -> tuple[int, ...]:
    """Boxes of these sizes (input pixels) as odd numbers of pixels at `stride`; below 3 they would add nothing."""
    sides = (2 * round((size_px / stride - 1) / 2) + 1 for size_px in context_px)
    return tuple(side for side in sides if side >= 3)


def box_contexts(maps: Tensor, sides: Sequence[int]) -> list[Tensor]:
    """The mean of every channel over each box."""
    return [box_mean(maps, side) for side in sides]


def look_from_afar(encoder: Callable[[Tensor], list[Tensor]], image: Tensor, zoom: int) -> Tensor:
    """The encoder's maps of the image at 1/zoom of its resolution, side by side at the coarsest one's stride."""
    maps = encoder(pool(image, zoom))
    return torch.cat([pool(m, m.shape[-1] // maps[-1].shape[-1]) for m in maps], dim=1)
