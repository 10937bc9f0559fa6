"""Stain as an encoder without parameters: optical density, hematoxylin and eosin, with local mean and SD.

Formulas after Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution", Anal. Quant.
Cytol. Histol. 23 (2001) 291-299. On real sections stain statistics alone predict about as well as frozen ImageNet
features, so they stand beside every encoder. Torch only; the numpy twin is `pixnet_sd._raster.stain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.ops import box_mean, pool_maps

# Optical density (R, G, B) of hematoxylin and eosin, as published; rows are scaled to unit length.
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))

# An 8-bit value v has density -log10((v + 1) / 256): 0 for white, and finite for black.
LEVELS = 256

# Sides of the boxes for mean and SD, in pixels of the level.
BOXES = (5, 15)

# Densities and stains at which the bins of a histogram are centered; quantiles of tissue lie between them.
KNOTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9)

# Pixels that are averaged before they are counted: a quarter of the time, and less noise of camera and JPEG.
GRAIN = 2

# Added below the square root, which would amplify the rounding of a flat region.
SMALLEST_VARIANCE = 1e-4


def unmixing_matrix() -> Tensor:
    """Return the 2 x 3 matrix from optical density to the hematoxylin and eosin that fit it best (least squares)."""
    stains = torch.tensor(STAINS, dtype=torch.float64)
    return torch.linalg.pinv((stains / stains.norm(dim=1, keepdim=True)).T).float()


class StainEncoder(Encoder):
    """Per level: three optical densities, hematoxylin, eosin, and the mean and SD of these five in boxes."""

    has_stain = True

    def __init__(self, strides: Sequence[int] = (1, 2, 4, 8)) -> None:
        channels = 5 * (1 + 2 * len(BOXES))
        super().__init__([channels] * len(strides), strides)
        self.register_buffer("unmixing", unmixing_matrix(), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) RGB in [0, 1] as one (B, C, H/stride, W/stride) map per stride."""
        stains = self.stains(image)
        squares = stains.square()
        return [local_moments(pool_maps(stains, stride), pool_maps(squares, stride)) for stride in self.strides]

    def stains(self, image: Tensor) -> Tensor:
        density = -torch.log10((image * (LEVELS - 1) + 1) / LEVELS)
        return torch.cat([density, torch.einsum("sc,bchw->bshw", self.unmixing, density)], dim=1)


class StainHistogram(nn.Module):
    """Soft histograms of the five stain channels.

    They stand for quantiles, whose means over shapes say little: shares of pixels add up, so pooled histograms are
    exact.
    """

    channels = 5 * len(KNOTS)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = StainEncoder((1,))

    def forward(self, image: Tensor, stride: int) -> Tensor:
        """Compute (B, C, H/stride, W/stride) shares of pixels from (B, 3, H, W) RGB in [0, 1]."""
        grain = min(GRAIN, stride)
        stains = pool_maps(self.encoder.stains(image), grain).clamp(KNOTS[0], KNOTS[-1])
        # One bin at a time: all of them at full resolution would take 160 bytes for each pixel.
        return torch.cat([pool_maps(triangle(stains, number), stride // grain) for number in range(len(KNOTS))], dim=1)


def triangle(values: Tensor, number: int) -> Tensor:
    """Fall from 1 at a knot to 0 at its neighbors; over all knots these sum to 1."""
    low, center, high = KNOTS[max(number - 1, 0)], KNOTS[number], KNOTS[min(number + 1, len(KNOTS) - 1)]
    rising = (values - low) / (center - low) if center > low else torch.ones_like(values)
    falling = (high - values) / (high - center) if high > center else torch.ones_like(values)
    return torch.minimum(rising, falling).clamp_min(0)


def local_moments(means: Tensor, squares: Tensor) -> Tensor:
    """Concatenate the values themselves with mean and SD of the full-resolution pixels in every box."""
    maps = [means]
    for side in BOXES:
        mean = box_mean(means, side)
        # Rounding can make a difference of equal numbers negative.
        variance = (box_mean(squares, side) - mean.square()).clamp_min(0)
        maps += [mean, (variance + SMALLEST_VARIANCE).sqrt()]
    return torch.cat(maps, dim=1)
