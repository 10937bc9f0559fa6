"""Figures are drawn without a screen, and closed."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_screen() -> Iterator[None]:
    plt.switch_backend("Agg")
    yield
    plt.close("all")
