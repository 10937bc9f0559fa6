"""Every foundation model, built as published and run at a tiny size; nothing is downloaded."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from precision import assert_close
from timm.layers import SwiGLUPacked

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.encoders.foundation import FOUNDATION, Foundation
from pixnet_sd.nn.encoders.rename import from_transformers
from pixnet_sd.nn.encoders.vit import create_vit
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
AS_ON_THE_CARD: dict[str, tuple[str, dict[str, Any]]] = {
    "uni": ("vit_large_patch16_224", {"init_values": 1e-5}),
    "uni2-h": (
        "vit_giant_patch14_224",
        {"depth": 24, "num_heads": 24, "init_values": 1e-5, "embed_dim": 1536, "mlp_ratio": 2.66667 * 2}
        | {"no_embed_class": True, "reg_tokens": 8}
        | SWIGLU,
    ),
    "virchow2": ("vit_huge_patch14_224", {"init_values": 1e-5, "reg_tokens": 4, "mlp_ratio": 5.3375} | SWIGLU),
    "virchow": ("vit_huge_patch14_224", {"init_values": 1e-5, "mlp_ratio": 5.3375} | SWIGLU),
    "kaiko-b8": ("vit_base_patch8_224", {}),
    "lunit-s8": ("vit_small_patch8_224", {}),
    "lunit-s16": ("vit_small_patch16_224", {}),
    "h-optimus-0": ("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5}),
    "h-optimus-1": ("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5}),
    "prov-gigapath": ("vit_giant_patch14_dinov2", {"patch_size": 16, "mlp_ratio": 5.33334}),
    "h0-mini": ("vit_base_patch14_reg4_dinov2", {"mlp_ratio": 5.33334} | SWIGLU),
}
"""The constructor that each card names, with its arguments."""

MILLIONS = {"uni": 303.4, "phikon-v2": 303.4, "h0-mini": 85.7, "hibou-b": 85.7, "hibou-l": 303.7, "h-optimus-0": 1134.8}


def published(row: Foundation) -> Any:
    return create_vit(row, depth=row.depth, dim=row.dim, window_px=row.window_px)


def tiny(name: str, **changes) -> Any:
    return build_encoder(name, **{"weights": None, "depth": 4, "dim": 32, **changes}).eval()


@pytest.mark.parametrize("name", AS_ON_THE_CARD)
def test_the_same_network_as_on_the_card(name):
    row, (card, arguments) = FOUNDATION[name], AS_ON_THE_CARD[name]
    with torch.device("meta"):
        ours: Any = create_vit(row, depth=2, dim=row.dim, window_px=224)  # two blocks, built in a tenth of the time
        theirs: Any = timm.create_model(
            card, pretrained=False, num_classes=0, img_size=224, **{**arguments, "depth": 2}
        )
    assert repr(ours) == repr(theirs)
    assert shapes(ours) == shapes(theirs)
    assert ours.blocks[0].attn.num_heads == theirs.blocks[0].attn.num_heads
    assert ours.no_embed_class == theirs.no_embed_class


def shapes(model) -> dict:
    return {key: value.shape for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", MILLIONS)
def test_as_many_parameters_as_published(name):
    row = FOUNDATION[name]
    with torch.device("meta"):
        model = published(row)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_one_is_a_pyramid(name):
    encoder, side = tiny(name), FOUNDATION[name].window_px
    stride = 8 if FOUNDATION[name].patch_px == 8 else 16
    with torch.inference_mode():
        maps = encoder(torch.rand(1, 3, side, 2 * side))
    assert encoder.levels == (4, 8, 16, 32)
    assert [tuple(m.shape) for m in maps] == [(1, 32, side // stride, 2 * side // stride)] * 4
    assert not torch.equal(maps[0], maps[3])


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_one_is_the_encoder_of_a_network(name):
    config = NetworkConfig(
        name,
        encoder_depth=4,
        encoder_dim=16,
        widths=(4,) * 4,
        programs=2,
        context_um=(),
        mpp=0.5,
        stride=4,
        decoder="safb",
        fine=True,
    )
    network = PixNet(config, genes=3, encoder_weights=None).eval()
    side = FOUNDATION[name].window_px
    assert (network.alignment, network.margin % side, network.margin > 0) == (side, 0, True)
    assert network(torch.rand(1, 3, side, side)).shape == (1, 2, side // 4, side // 4)


@pytest.mark.parametrize("name", ["uni", "uni2-h", "virchow2"])
def test_the_deepest_map_is_the_model_s_own_last_layer(name):
    encoder = tiny(name).encoder
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        tokens = encoder.model.forward_features(encoder.normalize(image))[:, encoder.model.num_prefix_tokens :]
        side = 224 // FOUNDATION[name].patch_px
        own = tokens.transpose(1, 2).unflatten(2, (side, side))
        expected = torch.nn.functional.interpolate(own, size=(14, 14), mode="bilinear")
        torch.testing.assert_close(encoder(image)[3], expected)


def test_the_last_blocks_of_a_vit_can_train():
    encoder = tiny("uni")
    encoder.set_trainable("last:2")
    trained = {key.split(".")[3] for key, value in encoder.named_parameters() if value.requires_grad}
    assert trained == {"2", "3"}


RECORDED = Path(__file__).parents[2] / "data" / "dinov2"
"""Tiny networks of transformers 4.48 with their output, made by the script beside them."""


@pytest.mark.parametrize("name", ["phikon-v2", "midnight", "hibou-b"])
def test_a_checkpoint_of_transformers_gives_its_own_tokens(name):
    """Registers and class position included; Midnight's positions, those of 518 px, are resampled as there."""
    path = RECORDED / f"{name}.safetensors"
    expected = safetensors.torch.load_file(path)["tokens"]
    places = torch.arange(3 * 224 * 224).view(1, 3, 224, 224)
    picture = torch.sin(places * 0.37) * torch.cos(places * 0.011)
    model = tiny(name, dim=48, weights=path).encoder.model
    with torch.inference_mode():
        found = model.forward_features(picture)
    skip = FOUNDATION[name].registers
    assert_close(torch.cat([found[:, :1], found[:, 1 + skip :]], dim=1), without_registers(expected, skip), ulp=1024)


def without_registers(tokens: torch.Tensor, count: int) -> torch.Tensor:
    return torch.cat([tokens[:, :1], tokens[:, 1 + count :]], dim=1)


def test_query_key_and_value_are_joined_in_that_order():
    state = {f"encoder.layer.0.attention.attention.{part}.bias": torch.full((1,), float(i)) for i, part in
             enumerate(("query", "key", "value"))}  # fmt: skip
    assert from_transformers(state)["blocks.0.attn.qkv.bias"].tolist() == [0, 1, 2]


def test_positions_of_another_window_are_resampled(tmp_path):
    small: Any = create_vit(FOUNDATION["uni"], depth=4, dim=32, window_px=224)
    wide = {f"trunk.{key}": value for key, value in small.state_dict().items()}
    safetensors.torch.save_file({**wide, "attn_pool.query": torch.zeros(1)}, tmp_path / "a.safetensors")
    loaded = tiny("conch-v1.5", weights=tmp_path / "a.safetensors").encoder.model
    assert loaded.pos_embed.shape == (1, 1 + 28 * 28, 32)
    torch.testing.assert_close(loaded.pos_embed[:, 0], small.pos_embed[:, 0])


@pytest.mark.parametrize(("name", "window", "seen"), [("uni", 256, 256), ("uni2-h", 256, 224), ("lunit-s8", 96, 96)])
def test_another_window_has_its_own_positions(name, window, seen):
    """For tokens of 14 px, 256 px are seen at 224 px, so that tokens are 16 px wide."""
    encoder = tiny(name, window_px=window)
    assert (encoder.window_px, encoder.encoder.viewed_px) == (window, seen)
    assert encoder.encoder.model.patch_embed.num_patches == (seen // FOUNDATION[name].patch_px) ** 2
    with torch.inference_mode():
        deepest = encoder(torch.rand(1, 3, 2 * window, window))[3]
    assert deepest.shape[-1] == window // encoder.strides[3]


@pytest.mark.parametrize("window", [100, 32.5, 0])
def test_a_window_that_does_not_fit_is_refused_when_the_network_is_configured(window):
    with pytest.raises(PixnetValueError, match="window_px"):
        NetworkConfig("uni2-h", window_px=window, mpp=0.5, stride=4, decoder="safb", fine=True)
