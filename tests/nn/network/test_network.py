"""A network states how far it sees; tiles read with that margin equal the whole image."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from precision import assert_close

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window, make_tiles
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.heads import RateHead
from pixnet_sd.nn.network.network import PixNet, ReceptiveField
from pixnet_sd.nn.network.ridge import fit_ridge

SMALL: dict[str, Any] = {
    "widths": (8, 12, 16),
    "programs": 3,
    "mpp": 1.0,
    "stride": 4,
    "decoder": "safb",
    "levels": (0, 1, 2, 3),
    "context_um": (48.0,),
    "fine": True,
}


def build(**changes) -> Any:
    network = PixNet(NetworkConfig(**{**SMALL, **changes}), genes=5, encoder_weights=None)
    settle(network)
    return network.eval()


def settle(network: PixNet) -> None:
    """As after training: batch norms with statistics of their own, and a map that varies by more than its rounding."""
    if isinstance(network.head, RateHead):
        torch.nn.init.normal_(network.head.project.weight)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_var is not None:
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


def read(image: torch.Tensor, window: Window) -> torch.Tensor:
    """A tile's pixels, white outside the image."""
    height, width = image.shape[-2:]
    inside = window.clip(Window(0, 0, height, width))
    tile = torch.ones(1, 3, *window.shape)
    rows, columns = inside.relative_to(window).slices
    tile[..., rows, columns] = image[(..., *inside.slices)]
    return tile


def by_tiles(network: PixNet, image: torch.Tensor, size: int, margin: int) -> torch.Tensor:
    height, width = image.shape[-2:]
    stride = network.stride
    result = torch.full((network.loadings.shape[0], height // stride, width // stride), torch.nan)
    for tile in make_tiles(height, width, size=size, stride=network.alignment, margin=margin):
        with torch.inference_mode():
            programs = network(read(image, tile.read))[0]
        core = tile.core.coarsened(stride)
        place = core.relative_to(tile.read.grow(-network.rim).coarsened(stride))
        result[(..., *core.slices)] = programs[(..., *place.slices)]
    return result


CASES = {
    "cnn": {"encoder": "tf_efficientnet_lite0", "levels": (0, 1, 2)},
    "overview": {"encoder": "resnet10t", "levels": (0, 1), "overview": 2, "context_um": (8.0, 24.0)},
    "full resolution": {"encoder": "resnet10t", "levels": (0, 1), "stride": 1},
    "color only": {"encoder": "stain"},
    "no color": {"encoder": "resnet10t", "levels": (0, 1, 2), "stain": False, "head": "log"},
    "readout": {"encoder": "resnet10t", "levels": (0, 1, 2), "decoder": "readout"},
    "windows": {"encoder": "efficientnet_b0", "levels": (0, 1, 2), "window_px": 32},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_tiles_equal_the_whole_image(changes):
    network = build(**changes)
    side = network.alignment
    image = torch.rand(1, 3, 5 * side, 3 * side)
    whole = by_tiles(network, image, size=5 * side, margin=network.margin)
    tiled = by_tiles(network, image, size=2 * side, margin=network.margin)
    assert_close(tiled, whole, ulp=256)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_tiles_equal_the_whole_section_with_real_weights(real_data):
    weights = real_data / "encoders" / "tf_efficientnet_lite0.in1k.safetensors"
    torch.manual_seed(0)
    network = PixNet(
        NetworkConfig(levels=(0, 1, 2, 3), mpp=0.69, widths=(16, 16, 16), stride=4, decoder="safb", fine=True),
        genes=5,
        encoder_weights=weights,
    ).eval()
    assert isinstance(network.head, RateHead)
    torch.nn.init.normal_(network.head.project.weight)
    with Image.open(real_data / "her2st" / "images" / "C4.jpg") as picture:
        pixels = np.asarray(picture.crop((4000, 4000, 4256, 4160)).convert("RGB"))
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    whole, tiled = (by_tiles(network, image, size=size, margin=network.margin) for size in (256, 128))
    assert whole.std() > 0
    assert_close(tiled, whole, ulp=256)


def test_what_lies_within_the_margin_matters_and_what_lies_beyond_does_not():
    network = build(encoder="resnet10t", levels=(0, 1, 2))
    margin, side, stride = network.margin, network.alignment, network.stride

    def core(image: torch.Tensor, before: int) -> torch.Tensor:
        return network(image)[..., before // stride : (before + side) // stride]

    image = torch.rand(1, 3, side, margin + side + margin)
    expected = core(image, margin)
    changed, longer = image.clone(), torch.nn.functional.pad(image, (side, side), value=0.5)
    changed[..., : 2 * side] = 0
    assert not torch.equal(core(changed, margin), expected)
    torch.testing.assert_close(core(longer, side + margin), expected, rtol=1e-5, atol=1e-6)


def test_an_encoder_with_a_global_operation_is_refused_with_the_remedy():
    with pytest.raises(PixnetValueError, match="window_px"):
        build(encoder="efficientnet_b0", levels=(0, 1, 2))


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_every_output_stride(stride):
    network = build(encoder="resnet10t", levels=(0, 1), stride=stride, widths=(6, 6, 6, 6))
    side = 2 * network.alignment
    assert network(torch.rand(2, 3, side, side)).shape == (2, 3, side // stride, side // stride)


def test_a_tile_off_the_grid_is_refused():
    network = build(encoder="stain")
    with pytest.raises(PixnetValueError, match=r"multiples of 8.*\(1, 3, 8, 12\)"):
        network(torch.rand(1, 3, 8, 12))


def test_a_level_about_which_nothing_is_known_is_refused():
    with pytest.raises(PixnetValueError, match=r"levels \[1\].*stain=True"):
        build(encoder="resnet10t", levels=(0, 1), stride=1, stain=False)


def test_a_configuration_survives_json():
    config = NetworkConfig(encoder="stain", levels=None, context_um=(50.0, 150.0), mpp=0.5, stride=4, decoder="safb")
    assert NetworkConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_configuration_of_another_version_is_refused():
    values = NetworkConfig().to_json()
    del values["mpp"]
    with pytest.raises(PixnetValueError, match=r"unknown keys \['color'\] and lacks \['mpp'\]"):
        NetworkConfig.from_json({**values, "color": True})


@pytest.mark.parametrize(
    "wrong", [{"stride": 3}, {"mpp": 0.0}, {"decoder": "unet"}, {"head": "x"}, {"programs": 0}, {"widths": (10**9,)}]
)
def test_a_configuration_names_what_is_wrong(wrong):
    with pytest.raises(PixnetValueError, match=next(iter(wrong))):
        NetworkConfig(**wrong)


def test_a_margin_that_is_given_must_keep_the_alignment():
    with pytest.raises(PixnetValueError, match="`margin` must be a multiple of its alignment 8; got 12"):
        PixNet(NetworkConfig(encoder="stain", mpp=0.5, stride=4, decoder="safb"), genes=5, reach=ReceptiveField(12, 0))


def test_a_frozen_encoder_rests_while_the_decoder_trains():
    network = PixNet(
        NetworkConfig(**{**SMALL, "encoder": "resnet10t", "levels": (0, 1, 2)}), genes=5, encoder_weights=None
    )
    assert network.train().decoder.training
    assert not any(module.training for module in network.encoder.modules() if module is not network.encoder)
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert all(parameter.grad is not None for parameter in network.decoder.parameters())


def test_measuring_the_margin_leaves_the_network_as_it_was():
    network = build(encoder="resnet10t", levels=(0, 1, 2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    assert network.measure() == network.reach
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_becomes_the_ridge_that_was_fitted_to_it():
    network = build(encoder="stain", decoder="readout", head="log")
    images = torch.rand(6, 3, 32, 32)
    with torch.inference_mode():
        pooled = network.decoder.dense(network.features(images)).mean((2, 3)).numpy()
    targets = np.random.default_rng(0).normal(size=(6, 5))
    fit = fit_ridge(pooled, targets, penalties=[0.1], rank=3)
    network.load_ridge(fit)
    with torch.inference_mode():
        predicted = network(images).mean((2, 3)) @ network.loadings + network.intercept
    np.testing.assert_allclose(predicted.numpy(), fit.predict(pooled), rtol=1e-3, atol=1e-4)
