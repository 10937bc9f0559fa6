"""The decoder block against its own formulas, step by step."""

from typing import Any

import torch
import torch.nn.functional as F

from pixnet_sd.nn.network.decoder import Readout, SafbDecoder
from pixnet_sd.nn.network.safb import ChannelNorm, FusionBlock, Lateral, SeparableConv
from pixnet_sd.nn.ops import FeatureSource, resample_map

SOURCES = (FeatureSource(3, 4, 4), FeatureSource(5, 16, 4), FeatureSource(4, 8, 8), FeatureSource(2, 2, 16))
READ = (FeatureSource(3, 2, 4), FeatureSource(2, 4, 4), FeatureSource(4, 16, 16))


def settle(module: Any) -> Any:
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


def maps(side: int = 64) -> list[torch.Tensor]:
    return [torch.randn(2, source.channels, side // source.stride, side // source.stride) for source in SOURCES]


def test_channel_norm_standardises_each_pixel_over_its_channels():
    normed = ChannelNorm(6)(torch.randn(2, 6, 3, 4) * 5 + 2)
    torch.testing.assert_close(normed.mean(1), torch.zeros(2, 3, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(normed.std(1, correction=0), torch.ones(2, 3, 4), rtol=1e-4, atol=1e-4)


def test_separable_conv_is_its_formula():
    block, features = settle(SeparableConv(4)), torch.randn(1, 4, 5, 6)
    local = F.conv2d(features, block.depthwise.weight, block.depthwise.bias, padding=1, groups=4)
    mixed = block.layer_norm(F.conv2d(F.silu(local), block.pointwise.weight, block.pointwise.bias))
    torch.testing.assert_close(block(features), block.batch_norm(F.silu(local + mixed)))


def test_fusion_is_its_formula():
    block = settle(FusionBlock(4, width_below=6))
    skip, below = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    under = F.interpolate(block.narrow(below), scale_factor=2.0, mode="bilinear")
    query, key, value = block.to_qkv(torch.cat([block.refine(skip), under], 1)).chunk(3, 1)
    torch.testing.assert_close(block(skip, below), under + (query * key).softmax(1) * value)


def test_the_coarsest_block_has_nothing_below():
    block, skip = settle(FusionBlock(4)), torch.randn(1, 4, 8, 8)
    refined = block.refine(skip)
    query, key, value = block.to_qkv(refined).chunk(3, 1)
    torch.testing.assert_close(block(skip), refined + (query * key).softmax(1) * value)


def test_projecting_before_upsampling_is_the_same():
    for source, features in zip(SOURCES, maps(), strict=True):
        lateral = settle(Lateral(source, 6))
        after = lateral.project(lateral.standardise(resample_map(features, source.stride, source.level)))
        torch.testing.assert_close(lateral(features), after, rtol=1e-4, atol=1e-5)


def test_the_sum_of_projections_is_the_projection_of_all():
    decoder, features = settle(SafbDecoder(SOURCES, (4, 8, 16), 4, (6, 8, 10), 3)), maps()
    first, second = decoder.lateral[0], decoder.lateral[1]
    together = torch.cat([features[0], resample_map(features[1], 16, 4)], dim=1)
    weight = torch.cat([first.project.weight, second.project.weight], dim=1)
    mean, var = (
        torch.cat([getattr(one.standardise, name) for one in (first, second)])
        for name in ("running_mean", "running_var")
    )
    expected = F.conv2d(F.batch_norm(together, mean, var), weight, first.project.bias + second.project.bias)
    torch.testing.assert_close(decoder.skip(features, 4), expected, rtol=1e-4, atol=1e-4)


def test_every_source_reaches_the_result():
    decoder, features = settle(SafbDecoder(SOURCES, (4, 8, 16), 4, (6, 8, 10), 3)), maps()
    result = decoder(features)
    assert result.shape == (2, 6, 16, 16)
    for index in range(len(SOURCES)):
        changed = [m + (number == index) for number, m in enumerate(features)]
        assert not torch.allclose(decoder(changed), result)


def test_a_readout_projects_before_it_upsamples():
    readout: Any = Readout(READ, (4, 16), stride=4, widths=(3,), programs=3)
    readout.mean.normal_()
    readout.scale.uniform_(0.5, 2)
    maps = [torch.randn(2, source.channels, 64 // source.stride, 32 // source.stride) for source in READ]
    dense = (readout.dense(maps) - readout.mean[:, None, None]) / readout.scale[:, None, None]
    expected = torch.einsum("bdhw,dk->bkhw", dense, readout.projection)
    torch.testing.assert_close(readout(maps), expected, rtol=1e-4, atol=1e-5)
