"""Limits, palettes and color maps that fade."""

import matplotlib as mpl
import numpy as np
import pytest

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.pl._draw.colors import OKABE_ITO, find_limits, make_colors, palette_for
from pixnet_sd.pl._draw.furniture import round_length
from pixnet_sd.pl._draw.theme import DARK, LIGHT, Theme

HUNDRED = np.arange(101.0)


@pytest.mark.parametrize(
    ("values", "vmin", "vmax", "expected"),
    [
        (HUNDRED, None, "p99", (0, 99)),
        (HUNDRED, "p10", 50, (10, 50)),
        (HUNDRED - 5, None, None, (-5, 95)),
        (np.array([*np.zeros(999), 7]), None, "p99", (0, 7)),  # sparse: the percentile is 0, the gene is not
        (np.zeros(4), None, "p99", (0, 1)),
        (np.array([np.nan, 3]), None, None, (0, 3)),
        (np.array([]), None, "p99", (0, 1)),
    ],
)
def test_limits(values: np.ndarray, vmin: float, vmax: float, expected: tuple[float, float]) -> None:
    norm = find_limits(values, vmin, vmax)
    assert (norm.vmin, norm.vmax) == expected


@pytest.mark.parametrize("stated", ["99", "p101", "pp", "high"])
def test_limits_that_are_neither_number_nor_percentile(stated: str) -> None:
    with pytest.raises(PixnetValueError, match="percentile"):
        find_limits(HUNDRED, None, stated)


def test_alpha_rises_with_the_value_and_nothing_is_drawn_for_nan() -> None:
    cmap = make_colors(None, 0.8, LIGHT, fade=True)
    alpha = cmap(np.linspace(0, 1, 256))[:, 3]
    assert alpha[0] == 0
    assert alpha[-1] == pytest.approx(0.8)
    assert (np.diff(alpha) > 0).all()
    assert cmap(np.ma.masked_invalid([np.nan]))[0, 3] == 0


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_zero_can_be_told_from_the_paper_and_lightness_is_monotone(theme: Theme) -> None:
    colors = make_colors(None, 1.0, theme, fade=False)(np.linspace(0, 1, 256))[:, :3]
    paper = mpl.colors.to_rgba_array(theme.paper)[0, :3]
    lightness = colors @ [0.299, 0.587, 0.114]
    assert np.abs(colors[0] - paper).max() > 0.1
    steps = np.diff(lightness)
    assert (steps > -1e-3).all() or (steps < 1e-3).all()


def test_palettes() -> None:
    names = [str(k) for k in range(40)]
    assert palette_for(names[:8], None, None, LIGHT) == [color.lower() for color in OKABE_ITO]
    assert palette_for(names[:8], None, None, DARK)[-1] == "#ffffff"
    assert len(set(palette_for(names, None, None, LIGHT))) == 40
    assert palette_for(["a"], None, ["red", "blue"], LIGHT) == ["#ff0000"]
    assert palette_for(["a"], {"a": "blue"}, ["red"], LIGHT) == ["#0000ff"]
    with pytest.raises(PixnetValueError, match="1 colors for 2"):
        palette_for(["a", "b"], ["red"], None, LIGHT)
    with pytest.raises(PixnetValueError, match="no color for"):
        palette_for(["a", "b"], {"a": "red"}, None, LIGHT)


@pytest.mark.parametrize(
    ("longest", "expected"), [(1, 1), (1.99, 1), (2, 2), (49, 20), (50, 50), (0.3, 0.2), (9e3, 5e3)]
)
def test_lengths_of_scale_bars_are_round(longest: float, expected: float) -> None:
    assert round_length(longest) == pytest.approx(expected)
