"""A stored network gives its stored numbers, stage by stage: nothing changes unnoticed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pixnet_sd.nn.model.model import Model

FOLDER = Path(__file__).parents[2] / "data" / "tiny_model"


@pytest.fixture(scope="module")
def stages() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Stored and computed tensors of every stage."""
    stored = load_file(FOLDER / "stages.safetensors")
    network = Model.load(FOLDER).network.members[0]
    return stored, script().stages(network, stored["image"])


def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_tiny_model", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stage", sorted(load_file(FOLDER / "stages.safetensors")))
def test_a_stage_gives_the_stored_numbers(stages, stage):
    stored, computed = stages
    torch.testing.assert_close(computed[stage], stored[stage], rtol=1e-4, atol=1e-5)


def test_no_stage_is_left_out_or_trivial(stages):
    stored, computed = stages
    assert set(stored) == set(computed)
    assert all(tensor.std() > 0 for tensor in stored.values())


def test_what_a_network_says_of_itself_is_stored_with_it():
    network = Model.load(FOLDER).network
    assert (network.stride, network.alignment, network.margin) == (1, 2, network.members[0].measure().margin)
