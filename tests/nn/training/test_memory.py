"""A step in parts has the loss and the gradient of the whole, in the memory of a part."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nn.painted import slide
from precision import assert_close

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._zonal.shapes import from_circles
from pixnet_sd.nn.inference.memory import MemoryAccount
from pixnet_sd.nn.model.skeleton import WithoutMemory
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet, ReceptiveField
from pixnet_sd.nn.training import memory
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.crops import Layout, choose_layout, make_crops
from pixnet_sd.nn.training.dataset import ShapeDataset, make_datasets
from pixnet_sd.nn.training.loop import batch_loss
from pixnet_sd.nn.training.state import TrainState

PAPERS = NetworkConfig(
    "stain", levels=None, decoder="safb", widths=(16, 16, 16, 16), programs=3, context_um=(), stride=1
)
CONFIG = TrainConfig(PAPERS, dropout=0.0, feature_dropout=0.0)


def state_of(limit: int, patch: pytest.MonkeyPatch) -> tuple[TrainState, ShapeDataset]:
    torch.manual_seed(0)
    network = PixNet(PAPERS, 4, encoder_weights=None)
    patch.setattr(memory, "STEP_LIMIT", limit)
    (dataset,) = make_datasets(network, slide(0), network.margin)
    small = make_crops(dataset.measured.shapes, Layout(64, 16))[:8]
    state = TrainState(network, [replace(dataset, crops=small)], [], CONFIG)
    state.network.train()
    for module in state.network.modules():  # statistics of a batch are those of the crops in memory, here of none
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return state, state.training[0]


def step(state: TrainState, dataset: ShapeDataset) -> tuple[float, list[torch.Tensor], int]:
    """The loss of one batch, its gradient, and the most memory that was allocated at once."""
    with MemoryAccount() as account:
        loss = batch_loss(state, dataset, dataset.crops, None)
        loss.backward()
    return loss.item(), [p.grad for p in state.trained if p.grad is not None], account.peak


def test_a_step_in_parts_is_the_whole_step_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, at_once = state_of(2**40, monkeypatch)
    parts, one_by_one = state_of(1, monkeypatch)
    assert (at_once.at_once, one_by_one.at_once) == (None, 1)
    loss, gradient, peak = step(whole, at_once)
    again, same, less = step(parts, one_by_one)
    assert again == pytest.approx(loss, rel=1e-5)
    for ours, theirs in zip(same, gradient, strict=True):
        assert_close(ours, theirs, ulp=4096)
    assert len(at_once.crops) == 8
    assert less < peak / 3


def test_the_stated_memory_of_a_crop_bounds_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    state, dataset = state_of(1, monkeypatch)
    dataset = replace(dataset, crops=dataset.crops[:1])
    stated = memory.crop_bytes(state.network, dataset.crops[0].window.height, cached=False)
    *_, peak = step(state, dataset)
    assert stated / 4 < peak < stated


def test_what_cannot_fit_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    with pytest.raises(PixnetRuntimeError, match=r"One crop of \d+ x \d+ px takes [\d,]+ bytes .* 1,000 are free"):
        state_of(1, monkeypatch)


@pytest.mark.parametrize("decoder", ["safb", "pixel"])
def test_a_visium_section_on_the_largest_encoder_stays_below_4_gb(decoder: str) -> None:
    """3,000 spots on 13,000² px; without memory, so nothing of it is allocated here."""
    config: Any = replace(NetworkConfig.foundation("uni2-h"), decoder=decoder, widths=(64, 128, 256, 512, 512))
    side = np.linspace(200, 12_800, 55)
    spots = from_circles(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)[:3000], 55.0, np.eye(3))
    with WithoutMemory():
        network = PixNet(config, 250, encoder_weights=None, reach=ReceptiveField(512, 0))
        needed = memory.crop_bytes(network, choose_layout(spots, network.alignment, 256).crop_px, cached=True)
    assert 0 < needed < 4e9
