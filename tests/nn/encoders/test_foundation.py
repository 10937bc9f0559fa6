"""Every foundation model, built as published and run at a tiny size; nothing is downloaded."""

from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from timm.layers import SwiGLUPacked

from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.encoders.foundation import FOUNDATION
from pixnet_sd.nn.encoders.weights import from_transformers
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
    "h-optimus-0": ("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5}),
    "h-optimus-1": ("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5}),
    "prov-gigapath": ("vit_giant_patch14_dinov2", {"patch_size": 16, "mlp_ratio": 5.33334}),
    "h0-mini": ("vit_base_patch14_reg4_dinov2", {"mlp_ratio": 5.33334} | SWIGLU),
}
"""The constructor that each card names, with its arguments."""

MILLIONS = {"uni": 303.4, "phikon-v2": 303.4, "h0-mini": 85.7, "hibou-b": 85.7, "hibou-l": 303.7, "h-optimus-0": 1134.8}


def tiny(name: str, **changes) -> Any:
    return build_encoder(name, **{"weights": None, "depth": 4, "dim": 32, **changes}).eval()


@pytest.mark.parametrize("name", AS_ON_THE_CARD)
def test_the_same_network_as_on_the_card(name):
    row, (card, arguments) = FOUNDATION[name], AS_ON_THE_CARD[name]
    with torch.device("meta"):
        ours: Any = row.create(depth=row.depth, dim=row.dim)
        theirs: Any = timm.create_model(card, pretrained=False, num_classes=0, img_size=224, **arguments)
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
        model = row.create(depth=row.depth, dim=row.dim)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_one_is_a_pyramid(name):
    encoder, side = tiny(name), FOUNDATION[name].window_px
    with torch.inference_mode():
        maps = encoder(torch.rand(1, 3, side, 2 * side))
    assert encoder.levels == (4, 8, 16, 32)
    assert [tuple(m.shape) for m in maps] == [(1, 32, side // 16, side // 8)] * 4
    assert not torch.equal(maps[0], maps[3])


@pytest.mark.parametrize("name", FOUNDATION)
def test_every_one_is_the_encoder_of_a_network(name):
    config = NetworkConfig(name, encoder_depth=4, encoder_dim=16, widths=(4,) * 4, programs=2, context_um=())
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


def as_in_transformers(vit) -> dict[str, torch.Tensor]:
    """A timm ViT's weights as a DINOv2 checkpoint of transformers, registers and class position included."""
    state = dict(vit.state_dict())
    state["pos_embed"] = torch.cat([torch.full_like(state["cls_token"], 0.25), state["pos_embed"]], dim=1)
    state["cls_token"] = state["cls_token"] - 0.25
    for key in [key for key in state if ".qkv." in key]:
        parts = zip(("query", "key", "value"), state.pop(key).chunk(3), strict=True)
        state |= {key.replace("qkv", part): value.clone() for part, value in parts}
    return {transformers_name(key): value for key, value in state.items()}


IN_TRANSFORMERS = {
    "cls_token": "embeddings.cls_token",
    "reg_token": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "blocks.": "encoder.layer.",
    ".attn.proj": ".attention.output.dense",
    ".attn.": ".attention.attention.",
    ".ls1.gamma": ".layer_scale1.lambda1",
    ".ls2.gamma": ".layer_scale2.lambda1",
    ".mlp.fc1": ".mlp.weights_in",
    ".mlp.fc2": ".mlp.weights_out",
}
"""Parts of names in timm and in transformers 4.48, whose networks give the same numbers under this table."""


def transformers_name(key: str) -> str:
    for ours, theirs in IN_TRANSFORMERS.items():
        key = key.replace(ours, theirs)
    return f"layer{key}" if key.startswith("norm.") else key


def test_a_checkpoint_of_transformers_gives_the_same_network(tmp_path):
    published = tiny("hibou-b", dim=96)
    state = as_in_transformers(published.encoder.model)
    assert {"embeddings.register_tokens", "encoder.layer.3.attention.attention.value.bias"} <= set(state)
    safetensors.torch.save_file({**state, "embeddings.mask_token": torch.zeros(1, 96)}, tmp_path / "a.safetensors")
    loaded = tiny("hibou-b", dim=96, weights=tmp_path / "a.safetensors")
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        for ours, theirs in zip(loaded(image), published(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_query_key_and_value_are_joined_in_that_order():
    state = {f"encoder.layer.0.attention.attention.{part}.bias": torch.full((1,), float(i)) for i, part in
             enumerate(("query", "key", "value"))}  # fmt: skip
    assert from_transformers(state)["blocks.0.attn.qkv.bias"].tolist() == [0, 1, 2]


def test_positions_of_another_window_are_resampled(tmp_path):
    small: Any = FOUNDATION["uni"].create(depth=4, dim=32)
    wide = {f"trunk.{key}": value for key, value in small.state_dict().items()}
    safetensors.torch.save_file({**wide, "attn_pool.query": torch.zeros(1)}, tmp_path / "a.safetensors")
    loaded = tiny("conch-v1.5", weights=tmp_path / "a.safetensors").encoder.model
    assert loaded.pos_embed.shape == (1, 1 + 28 * 28, 32)
    torch.testing.assert_close(loaded.pos_embed[:, 0], small.pos_embed[:, 0])
