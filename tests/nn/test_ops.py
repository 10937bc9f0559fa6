"""Resampling and box means by hand, and their indifference to where a tile begins."""

import pytest
import torch
from precision import assert_close

from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.ops import (
    box_mean,
    box_sides,
    encode_downsampled,
    pool_maps,
    resample_map,
    upsample_maps,
)


def test_pooling_is_the_mean_of_squares():
    assert pool_maps(torch.arange(16.0).reshape(1, 1, 4, 4), 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_upsampling_keeps_pixel_centers():
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    finer = upsample_maps(ramp, 4)[0, 0, 0]
    centers = (torch.arange(32) + 0.5) / 4 - 0.5
    torch.testing.assert_close(finer[2:-2], centers[2:-2])


@pytest.mark.parametrize(("stride", "to"), [(4, 4), (4, 16), (16, 4)])
def test_resampling_keeps_constants_and_means(stride, to):
    maps = torch.full((1, 2, 16, 16), 3.0)
    resampled = resample_map(maps, stride, to)
    assert resampled.shape[-1] == 16 * stride // to
    assert torch.all(resampled == 3)


@pytest.mark.parametrize("side", [1, 3, 7])
def test_a_box_mean_is_the_mean_of_the_box(side):
    maps, half = torch.rand(1, 2, 16, 20), side // 2
    means = box_mean(maps, side)
    box = maps[..., 8 - half : 9 + half, 9 - half : 10 + half].mean((2, 3))
    torch.testing.assert_close(means[..., 8, 9], box)
    corner = maps[..., : half + 1, : half + 1].mean((2, 3))
    torch.testing.assert_close(means[..., 0, 0], corner)


@pytest.mark.parametrize(
    "operation", [lambda m: upsample_maps(m, 4), lambda m: pool_maps(m, 2), lambda m: box_mean(m, 3)]
)
def test_a_tile_gives_the_numbers_of_the_whole(operation):
    maps = torch.rand(1, 1, 8, 64)
    whole, tile = operation(maps), operation(maps[..., 16:48])
    step = whole.shape[-1] / maps.shape[-1]
    inner = slice(int(8 * step), int(24 * step))
    assert_close(whole[..., int(24 * step) : int(40 * step)], tile[..., inner], ulp=4)


def test_boxes_are_odd_and_near_their_size():
    # 150 um at 0.5 um/px is 300 px: 18.75 pixels of stride 16, and 64 px are fewer than 3 of stride 32.
    assert box_sides([300], 16) == (19,)
    assert box_sides([300, 64], 16) == (19, 5)
    assert box_sides([64], 32) == ()


def test_contexts_are_means_of_every_channel():
    maps = torch.rand(1, 3, 8, 8)
    contexts = [box_mean(maps, side) for side in (3, 5)]
    assert [tuple(context.shape) for context in contexts] == [(1, 3, 8, 8)] * 2
    torch.testing.assert_close(contexts[1][..., 4, 4], maps[..., 2:7, 2:7].mean((2, 3)))


def test_a_look_from_afar_is_the_encoder_on_the_smaller_image():
    encoder = build_encoder("stain").eval()
    image = torch.rand(1, 3, 16, 16).repeat_interleave(2, 2).repeat_interleave(2, 3)
    alone = encoder(image[..., ::2, ::2])
    seen = encode_downsampled(encoder, image, 2)
    assert seen.shape == (1, sum(encoder.channels), 2, 2)
    torch.testing.assert_close(seen[:, -alone[-1].shape[1] :], alone[-1])
