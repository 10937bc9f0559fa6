"""Small machines share their cores."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that share their cores with others wait for one another far longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
