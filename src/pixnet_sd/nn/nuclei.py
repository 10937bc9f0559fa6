"""A small network that sees nuclei at 0.5 µm per pixel, in the density of red light alone. Torch, scipy, arrays.

Eosin hardly absorbs red. A network that saw all colors learnt from purple slides that what is pink is nucleus as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pixnet_sd._raster import nuclei

WEIGHTS = Path(__file__).parent.parent / "weights" / "nuclei" / "weights.safetensors"
STRIDE = 8
"""Reads must begin at multiples of it: pooling and upsampling keep their phase then."""
MARGIN = 72
"""Pixels that the network looks at around each, at most; a test holds it."""
REACH = nuclei.REACH
"""Of all that leads to mask and height: the surroundings reach farther than the network, and the rest is the same."""
MIDDLE = 0.3
"""A usual density, which becomes 0."""
PEAK_BLUR_PX = 3.0
THINNEST_PX = 2
DISTANCE_WEIGHT = 0.1
"""Of a pixel of distance to the outline, beside depth from 0 to 1."""


class NucleusNet(nn.Module):
    """A U-Net of the strides 2, 4 and 8 with 0.17 million weights.

    Half of the image's resolution is enough for all layers: the first sees squares of four pixels as channels, and the
    last gives four pixels of each output. Layers at full resolution would take most of the time.
    """

    def __init__(self, widths: tuple[int, int, int] = (24, 32, 64)) -> None:
        super().__init__()
        first, second, third = widths
        self.down1 = nn.Sequential(convolution(4, first), convolution(first, first))
        self.down2 = nn.Sequential(convolution(first, second), convolution(second, second))
        self.deep = nn.Sequential(
            convolution(second, third), convolution(third, third), convolution(third, third, dilation=2)
        )
        self.up2 = nn.Sequential(convolution(second + third, second), convolution(second, second))
        self.up1 = nn.Sequential(convolution(first + second, first), convolution(first, first))
        self.readout = nn.Conv2d(first, 8, 1)

    def forward(self, density: Tensor) -> Tensor:
        """(B, 1, H, W), sides multiples of 8 -> (B, 2, H, W) logits: of being nucleus, and of depth in it (0 to 1)."""
        fine = self.down1(F.pixel_unshuffle(density - MIDDLE, 2))
        middle = self.down2(F.max_pool2d(fine, 2))
        deep = self.deep(F.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([middle, double(deep)], dim=1))
        return F.pixel_shuffle(self.readout(self.up1(torch.cat([fine, double(middle)], dim=1))), 2)


def convolution(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")


@cache
def bundled_net() -> NucleusNet:
    """Load the network that comes with the package."""
    network = NucleusNet()
    network.load_state_dict(safetensors.torch.load_file(WEIGHTS))
    return fold_norms(network)


def fold_norms(network: NucleusNet) -> NucleusNet:
    """Fold norms into the convolutions before them, in place; the network only predicts from then on."""
    network.eval().requires_grad_(False)
    for layer in list(network.modules()):
        if isinstance(layer, nn.Sequential) and isinstance(layer[1], nn.BatchNorm2d):
            assert isinstance(layer[0], nn.Conv2d)
            layer[0], layer[1] = fuse_conv_bn_eval(layer[0], layer[1]), nn.Identity()
    return network.to(memory_format=torch.channels_last)


def detect_with(network: NucleusNet) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Make a function from uint8 RGB (3, y, x), sides multiples of 8, to mask and height (y, x)."""

    def detect(rgb_cyx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stain = nuclei.nuclear_stain(rgb_cyx)
        with torch.inference_mode():
            nucleus, depth = network(torch.from_numpy(stain)[None, None]).sigmoid()[0].numpy()
        # Collagen, which its training tiles lack, looks like pale nuclei to the network, but is no darker than around.
        seen = (nucleus > 0.5) & nuclei.is_darker(nuclei.blur(stain, 1.0), 0.0)
        mask = nuclei.fill_holes(ndimage.binary_opening(seen, nuclei.disc(THINNEST_PX)))
        return mask, DISTANCE_WEIGHT * nuclei.depth_of(mask) + nuclei.blur(depth, PEAK_BLUR_PX)

    return detect
