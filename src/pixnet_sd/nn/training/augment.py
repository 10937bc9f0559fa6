"""Random augmentation of crops: rotated, mirrored, recolored, blurred, smaller. Torch only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pixnet_sd.nn.network.views import VIEWS, apply_view, undo_view

# Standard deviations of the factor of each channel's optical density, and of what is added to it.
GAIN, OFFSET = 0.1, 0.01
# Share of batches that are blurred a little.
BLUR = 0.5
DARKEST = 1 / 255
# Least scale. Never above 1: all of a crop stays in view.
SMALLEST = 0.85


@dataclass(frozen=True)
class CropView:
    """One augmentation of a batch; predictions are transformed back, so shapes stay in place."""

    number: int
    """Index of the rotation or reflection in `VIEWS`."""
    gain: Tensor
    """(3, 1, 1) factors of the optical density."""
    offset: Tensor
    """(3, 1, 1) added to it."""
    blurred: bool
    """Whether neighboring pixels are averaged."""
    size: float = 1.0
    """Scale of the content."""

    def apply(self, image: Tensor) -> Tensor:
        """Augment (B, 3, H, W) RGB in [0, 1]."""
        density = -torch.log(image.clamp_min(DARKEST)) * self.gain.to(image.device) + self.offset.to(image.device)
        color = torch.exp(-density).clamp(0, 1)
        return resize_crop(apply_view(blur_crop(color) if self.blurred else color, *VIEWS[self.number]), self.size)

    def undo(self, maps: Tensor) -> Tensor:
        return undo_view(resize_crop(maps, 1 / self.size), *VIEWS[self.number])


def random_view(generator: torch.Generator) -> CropView:
    number = int(torch.randint(len(VIEWS), (), generator=generator))
    gain, offset = torch.randn(2, 3, 1, 1, generator=generator).unbind(0)
    blurred = bool(torch.rand((), generator=generator) < BLUR)
    size = 1 - (1 - SMALLEST) * float(torch.rand((), generator=generator))
    return CropView(number, 1 + GAIN * gain, OFFSET * offset, blurred, size)


def resize_crop(maps: Tensor, size: float) -> Tensor:
    """Scale the content around the middle of the same frame; the edge is repeated beyond it."""
    if size == 1:
        return maps
    scaling = torch.tensor([[1 / size, 0.0, 0.0], [0.0, 1 / size, 0.0]], device=maps.device, dtype=maps.dtype)
    grid = F.affine_grid(scaling.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def blur_crop(image: Tensor) -> Tensor:
    """Filter with a 3 x 3 binomial mean."""
    line = torch.tensor([0.25, 0.5, 0.25], device=image.device, dtype=image.dtype)
    kernel = torch.outer(line, line).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=image.shape[1])
