"""A new kind of head, decoder or loss is one class or function and one line in a table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nn.painted import slide
from nn.training.test_fit import CONFIG, NETWORK, train
from torch import Tensor, nn

from pixnet_sd.nn.model.model import Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.decoder import DECODERS, Decoder
from pixnet_sd.nn.network.heads import HEADS, LogHead, RateHead
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.loss import LIKELIHOODS, LOSSES, RateLoss


class SquareHead(RateHead):
    """Programs are squares."""

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * (self.project(features) + self.bias).square()


class MeanHead(LogHead):
    loss = "absolute"


def absolute_loss(predicted: Tensor, measured: object, dispersion: Tensor | None, options: RateLoss) -> Tensor:
    return (predicted - 1).abs().mean()


class BlurDecoder(Decoder):
    """All features, averaged over 3 x 3 pixels and projected."""

    def __init__(self, sources, levels, stride, widths, programs) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        self.project = nn.Conv2d(self.dim, self.width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.project(nn.functional.avg_pool2d(self.dense(maps), 3, 1, 1, count_include_pad=False))


class LinearDecoder(Decoder):
    """Single pixels, projected."""

    samples_pixels = True

    def __init__(self, sources, levels, stride, widths, programs) -> None:
        super().__init__(sources, levels, stride, widths, programs)
        self.project = nn.Conv2d(self.dim, self.width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.decode_pixels(self.dense(maps))

    def decode_pixels(self, dense: Tensor) -> Tensor:
        return self.project(dense)


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "square", SquareHead)
    monkeypatch.setitem(HEADS, "mean", MeanHead)
    monkeypatch.setitem(DECODERS, "blur", BlurDecoder)
    monkeypatch.setitem(DECODERS, "linear", LinearDecoder)
    monkeypatch.setitem(LOSSES, "absolute", absolute_loss)
    monkeypatch.setitem(LIKELIHOODS, "squared", lambda means, counts, dispersion: (means - counts).square().mean())


CASES = {
    "head": {"head": "square"},
    "decoder": {"decoder": "blur"},
    "decoder of pixels": {"decoder": "linear"},
    "head and decoder": {"head": "square", "decoder": "linear"},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_a_new_kind_trains_and_is_stored(changes: dict[str, str], tmp_path: Path) -> None:
    network = NetworkConfig(**{**NETWORK.to_json(), "context_um": (20.0,), "widths": (8,), **changes})
    model = train([slide(0)], replace(CONFIG, network=network, steps=24), (slide(2),))
    assert model.history["loss 1"][-1] < model.history["loss 1"][0]
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.network.members[0].config == network
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(again.network(image), model.network(image))


def test_a_head_chooses_its_loss() -> None:
    """Every gene is drawn to 1, whatever was measured."""
    network = replace(NETWORK, decoder="linear", head="mean")
    model = train([slide(0)], TrainConfig(network=network, steps=200, lr=5e-2, ema=0.0, weight_decay=0.0))
    assert model.history["loss 1"][-1] < 0.2 * model.history["loss 1"][0]


def test_a_new_likelihood_is_minimized() -> None:
    options = RateLoss("squared", correlation=0.0)
    curve = train([slide(0)], replace(CONFIG, rate=options, steps=48)).history["loss 1"]
    assert np.isfinite(curve).all()
    assert curve[-1] < curve[0]
