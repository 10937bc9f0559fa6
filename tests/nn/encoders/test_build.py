"""Encoders: pyramids of the promised shape, trainable in part, with weights that are loaded whole or not at all."""

from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from precision import assert_close

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.encoders import build as nn_encoder

CNN = "resnet10t"


def build_encoder(name: str, **options) -> Any:
    return nn_encoder.build_encoder(name, **options)


def save(encoder, path, **changes):
    state = {**encoder.model.state_dict(), **changes}
    safetensors.torch.save_file({key: value for key, value in state.items() if value is not None}, path)
    return path


@pytest.mark.parametrize("name", [CNN, "tf_efficientnet_lite0", "convnext_atto", "stain"])
def test_maps_have_the_stated_strides_and_channels(name):
    encoder = build_encoder(name, weights=None).eval()
    side = 2 * encoder.alignment
    maps = encoder(torch.rand(2, 3, side, 3 * side))
    shapes = [(2, c, side // s, 3 * side // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == shapes


def test_levels_choose_from_the_pyramid():
    assert build_encoder(CNN, weights=None, levels=(1, 3)).strides == (4, 16)


def test_what_no_level_needs_is_left_out_and_changes_nothing():
    encoder = build_encoder("tf_efficientnet_lite0", weights=None, levels=(0, 1, 2, 3)).eval()
    whole: Any = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    own = encoder.model.state_dict()
    whole.load_state_dict({key: own.get(key, value) for key, value in whole.state_dict().items()})
    image = torch.rand(1, 3, 64, 64)
    assert len(encoder.model.blocks) < len(whole.blocks)
    for ours, theirs in zip(encoder(image), whole(encoder.normalize(image)), strict=True):
        assert_close(ours.detach(), theirs.detach())


def test_normalization_is_inside_the_network():
    encoder = build_encoder(CNN, weights=None).eval()
    image = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(encoder.model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert {"mean", "std"} <= set(encoder.state_dict())
    for ours, timms in zip(encoder(image), encoder.model((image - mean) / std), strict=True):
        assert_close(ours.detach(), timms.detach())


@pytest.mark.parametrize("name", ["no_such_net", "vit_tiny_patch16_224", "hf-hub:someone/net", "../net"])
def test_what_is_not_a_cnn_is_refused(name):
    with pytest.raises(PixnetValueError, match=name):
        build_encoder(name, weights=None)


def test_a_window_must_fit_the_strides():
    with pytest.raises(PixnetValueError, match="multiple of 32.*got 100"):
        build_encoder(CNN, weights=None, window_px=100)


def test_windows_do_not_see_each_other():
    encoder = build_encoder("efficientnet_b0", weights=None, levels=(0, 1), window_px=32).eval()
    image = torch.rand(2, 3, 64, 96)
    joined = encoder(image)[0]
    alone = encoder(image[:, :, 32:64, 64:96])[0]
    torch.testing.assert_close(joined[:, :, 16:32, 32:48], alone)


class TestTrainable:
    def test_frozen_has_no_gradient_and_keeps_its_statistics(self):
        encoder = build_encoder(CNN, weights=None)
        encoder.set_trainable("frozen")
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        encoder.train()(torch.rand(2, 3, 64, 64))
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())

    def test_the_last_block_trains_and_the_others_rest(self):
        encoder = build_encoder(CNN, weights=None)
        encoder.set_trainable("last:1")
        encoder.train()
        *first, last = encoder.blocks()
        assert all(parameter.requires_grad for parameter in last.parameters())
        assert last.training
        assert not any(parameter.requires_grad for block in first for parameter in block.parameters())
        assert not any(block.training for block in first)
        encoder.eval()
        assert not last.training

    def test_all(self):
        encoder = build_encoder(CNN, weights=None)
        encoder.set_trainable("all")
        encoder.train()
        assert all(parameter.requires_grad for parameter in encoder.parameters())
        assert all(module.training for module in encoder.modules())

    def test_a_new_encoder_is_frozen(self):
        assert not any(parameter.requires_grad for parameter in build_encoder(CNN, weights=None).parameters())

    def test_all_of_a_windowed_encoder(self):
        encoder = build_encoder(CNN, weights=None, window_px=64)
        encoder.set_trainable("all")
        assert all(module.training for module in encoder.train().modules())
        assert not any(module.training for module in encoder.eval().modules())

    def test_a_windowed_encoder_passes_it_on(self):
        encoder = build_encoder(CNN, weights=None, window_px=64)
        encoder.set_trainable("last:1")
        encoder.train()
        assert sum(parameter.requires_grad for parameter in encoder.parameters()) > 0
        assert not encoder.encoder.model.conv1.training

    @pytest.mark.parametrize("which", ["last", "last:0", "last:99", "some", "last:-1"])
    def test_anything_else_is_refused(self, which):
        with pytest.raises(PixnetValueError, match=r'"last:N" with N from 1 to \d+'):
            build_encoder(CNN, weights=None).set_trainable(which)


class TestWeights:
    def test_a_local_file_is_loaded_whole(self, tmp_path):
        path = save(build_encoder(CNN, weights=None), tmp_path / "a.safetensors", classifier=torch.zeros(1))
        first, second = (build_encoder(CNN, weights=path).state_dict() for _ in range(2))
        assert all(torch.equal(value, second[key]) for key, value in first.items())

    def test_timm_s_two_spellings_of_a_name_are_one(self, tmp_path):
        encoder = build_encoder("convnext_atto", weights=None)
        spelled = {key.replace("stages_", "stages."): value for key, value in encoder.model.state_dict().items()}
        safetensors.torch.save_file(spelled, tmp_path / "a.safetensors")
        loaded = build_encoder("convnext_atto", weights=tmp_path / "a.safetensors")
        key = "model.stages_0.blocks.0.conv_dw.weight"
        assert torch.equal(loaded.state_dict()[key], encoder.state_dict()[key])

    def test_a_file_that_lacks_a_tensor(self, tmp_path):
        path = save(build_encoder(CNN, weights=None), tmp_path / "a.safetensors", **{"bn1.weight": None})
        with pytest.raises(PixnetValueError, match=r"1 of \d+ tensors are missing \(such as \['bn1.weight'\]"):
            build_encoder(CNN, weights=path)

    def test_a_file_of_another_network(self, tmp_path):
        path = save(build_encoder(CNN, weights=None), tmp_path / "a.safetensors", **{"bn1.weight": torch.zeros(7)})
        with pytest.raises(PixnetValueError, match=r"bn1.weight is \(7,\)"):
            build_encoder(CNN, weights=path)

    @pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
    def test_a_pickle_is_not_opened_whatever_its_name(self, tmp_path, suffix):
        path = tmp_path / f"weights{suffix}"
        torch.save(build_encoder(CNN, weights=None).model.state_dict(), path)
        with pytest.raises(PixnetValueError, match=r"save_file\(torch.load\('weights.*weights_only=True"):
            build_encoder(CNN, weights=path)

    def test_a_path_that_is_nothing(self, tmp_path):
        with pytest.raises(PixnetValueError, match="no weights file"):
            build_encoder(CNN, weights=tmp_path / "a.safetensors")
