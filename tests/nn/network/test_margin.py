"""The measured margin against receptive fields that can be computed by hand."""

import pytest
import torch
from torch import nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.margin import measure_margin
from pixnet_sd.nn.ops import box_mean, pool_maps, upsample_maps


def conv(kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(3, 3, kernel, stride=stride, padding=kernel // 2)


class Box(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return box_mean(image, 7)


class DownAndUp(nn.Module):
    """Each pixel of a 4-fold upsampling sees one neighbor of its coarse pixel: 4 input pixels further."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return upsample_maps(pool_maps(image, 4), 4)


class Sideways(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + image.roll(5, dims=-1)


@pytest.mark.parametrize(
    ("network", "alignment", "stride", "margin"),
    [
        (conv(1), 1, 1, 0),
        (conv(5), 1, 1, 2),
        (nn.Sequential(conv(3), conv(5)), 1, 1, 3),
        (nn.Sequential(conv(3, stride=2), conv(3)), 2, 2, 4),  # 3 px on the left, rounded up to the alignment
        (Box(), 1, 1, 3),
        (DownAndUp(), 4, 1, 4),
        (Sideways(), 1, 1, 5),
        (nn.Sequential(conv(3), nn.BatchNorm2d(3), nn.ReLU6(), nn.Softmax(1)), 1, 1, 1),
    ],
)
def test_the_margin_is_the_receptive_field(network, alignment, stride, margin):
    assert measure_margin(network, network, alignment, stride) == margin


def test_weights_that_happen_to_be_zero_do_not_hide_a_pixel():
    network = conv(5)
    nn.init.zeros_(network.weight)
    assert measure_margin(network, network, 1, 1) == 2


def test_what_sees_everything_has_no_margin():
    network = nn.Sequential(conv(1), nn.InstanceNorm2d(3))
    with pytest.raises(PixnetValueError, match="exceeds 4096 px"):
        measure_margin(network, network, 64, 1)
