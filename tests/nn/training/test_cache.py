"""Features of a frozen encoder over a slide: each window once, around what is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nn.painted import silent, slide

from pixnet_sd.nn.encoders import memo
from pixnet_sd.nn.encoders.memo import WindowMemo
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.training.cache import FeatureCache, cache_features
from pixnet_sd.nn.training.dataset import make_datasets

SIDE = 32
CONFIG = NetworkConfig("resnet10t", levels=(0, 1), window_px=SIDE, widths=(4,), programs=2, context_um=(20.0,))


def counted(network: PixNet) -> list[int]:
    """The numbers of windows that the encoder gets from now on."""
    counts: list[int] = []
    inner: Any = network.encoder
    inner.encoder.register_forward_hook(lambda _, images, __: counts.append(len(images[0])))
    return counts


def features(network: PixNet, folder: Path, rows: slice = slice(None)) -> FeatureCache:
    folder.mkdir()
    (dataset,) = make_datasets(network, slide(0), 0)
    return cache_features(network, slide(0), dataset.crops[rows], folder, advance=silent(1, ""))


def test_a_whole_slide_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 64 windows, and one of what is white beyond its edges."""
    network = PixNet(CONFIG, 4, encoder_weights=None).eval()
    counts = counted(network)
    cached = features(network, tmp_path / "one")
    assert sum(counts) == (256 // SIDE) ** 2 + 1
    monkeypatch.setattr(WindowMemo, "encode", lambda self, encoder, windows: encoder(windows))
    for ours, plain in zip(cached.maps, features(network, tmp_path / "two").maps, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=0, atol=2e-3 * np.abs(plain).max())


def test_what_was_used_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "AT_ONCE", 2)
    windows, seen = torch.rand(3, 3, 4, 4), []

    def encoder(images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(images))
        return [images.mean((2, 3), keepdim=True)]

    two = WindowMemo(limit=2 * 3 * 4)
    for _ in range(2):
        (maps,) = two.encode(encoder, windows[[0, 1, 1, 2]])
        assert torch.equal(maps, windows[[0, 1, 1, 2]].mean((2, 3), keepdim=True))
    assert seen == [2, 1, 1]
    assert two.size <= two.limit
