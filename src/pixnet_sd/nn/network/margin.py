"""The receptive field, measured exactly by following a block of NaN through the network.

Torch only. A NaN goes wherever its pixel could matter, whatever the weights, so the measure is the true receptive
field and not the one that trained weights happen to use.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import round_up

# Beyond this margin a network counts as global.
FARTHEST_PX = 4096

FIRST_GUESS_PX = 512


def measure_margin(module: nn.Module, forward: Callable[[Tensor], Tensor], alignment: int, stride: int) -> int:
    """Measure the input pixels on each side of an aligned tile beyond which nothing matters, in steps of `alignment`.

    One whole block of `alignment` pixels is NaN, so all phases are probed at once; rows and columns are probed in
    strips one block wide. The module is measured as it predicts (eval) and left as it was.
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            return max(measure_reach(forward, alignment, stride, axis) for axis in (-2, -1))
    finally:
        module.train(was_training)


def measure_reach(forward: Callable[[Tensor], Tensor], alignment: int, stride: int, axis: int) -> int:
    # The strip doubles until its ends are not touched: a long one takes much time for small networks.
    blocks = max(FIRST_GUESS_PX // alignment, 1)
    while blocks * alignment <= FARTHEST_PX:
        touched = touched_pixels(forward, alignment, blocks, axis)
        first, last = int(touched[0]), int(touched[-1]) + 1
        center, length = blocks * alignment // stride, (2 * blocks + 1) * alignment // stride
        if first > 0 and last < length:
            beyond = max(center - first, last - center - alignment // stride, 0)
            return round_up(beyond * stride, alignment)
        blocks *= 2
    raise PixnetValueError(
        f"The receptive field exceeds {FARTHEST_PX} px, so a tile can never equal the whole image: its encoder has "
        "a global operation (attention, squeeze-and-excitation). Give `window_px` (e.g. 224): the encoder then takes "
        "fixed windows anchored at the image's corner, and tiles stay exact."
    )


def touched_pixels(forward: Callable[[Tensor], Tensor], alignment: int, blocks: int, axis: int) -> Tensor:
    """Find output positions along `axis` that change with the block in the middle of a white strip."""
    shape = [1, 3, alignment, alignment]
    shape[axis] = (2 * blocks + 1) * alignment
    image = torch.ones(shape)
    image.narrow(axis, blocks * alignment, alignment).fill_(torch.nan)
    nan = forward(image).isnan()
    return nan.flatten(0, 1).any(0).any(-1 if axis == -2 else 0).nonzero().flatten()
