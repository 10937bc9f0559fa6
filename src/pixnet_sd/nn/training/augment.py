"""Other views of a crop, for training: turned, mirrored, recoloured, blurred, smaller. Torch only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixnet_sd.nn.network.views import VIEWS, apply_view, undo_view

GAIN, OFFSET = 0.1, 0.01
"""Standard deviations of the factor of each channel's optical density, and of what is added to it."""
BLUR = 0.5
"""Share of batches that are blurred a little."""
DARKEST = 1 / 255
SMALLEST = 0.85
"""Size of what is seen, at least. Never larger: all of a crop stays in view."""


@dataclass(frozen=True)
class CropView:
    """One way to look at a batch; what is predicted on it is turned back, so shapes stay where they are."""

    number: int
    """Which of the eight turns and mirrorings."""
    gain: Tensor
    """(3, 1, 1) factors of the optical density."""
    offset: Tensor
    """(3, 1, 1) added to it."""
    blurred: bool
    """Whether neighbouring pixels are averaged."""
    size: float = 1.0
    """Of what is seen, as a share."""

    def of(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> the same, seen this way."""
        density = -torch.log(image.clamp_min(DARKEST)) * self.gain.to(image.device) + self.offset.to(image.device)
        seen = torch.exp(-density).clamp(0, 1)
        return resize_crop(apply_view(blur_crop(seen) if self.blurred else seen, *VIEWS[self.number]), self.size)

    def back(self, maps: Tensor) -> Tensor:
        return undo_view(resize_crop(maps, 1 / self.size), *VIEWS[self.number])


def random_view(generator: torch.Generator) -> CropView:
    number = int(torch.randint(len(VIEWS), (), generator=generator))
    gain, offset = torch.randn(2, 3, 1, 1, generator=generator).unbind(0)
    blurred = bool(torch.rand((), generator=generator) < BLUR)
    size = 1 - (1 - SMALLEST) * float(torch.rand((), generator=generator))
    return CropView(number, 1 + GAIN * gain, OFFSET * offset, blurred, size)


def resize_crop(maps: Tensor, size: float) -> Tensor:
    """Around the middle, in a frame that stays; what lies beyond repeats the edge."""
    if size == 1:
        return maps
    scaling = torch.tensor([[1 / size, 0.0, 0.0], [0.0, 1 / size, 0.0]], device=maps.device, dtype=maps.dtype)
    grid = F.affine_grid(scaling.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def blur_crop(image: Tensor) -> Tensor:
    """A 3 x 3 binomial mean."""
    line = torch.tensor([0.25, 0.5, 0.25], device=image.device, dtype=image.dtype)
    kernel = torch.outer(line, line).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=image.shape[1])
