"""Small machines share their cores, and random weights must not change from run to run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def torch_at_rest():
    torch.set_num_threads(2)
    torch.manual_seed(0)
