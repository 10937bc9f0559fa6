"""A line for each method, named at its end, and no name over another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd.pl._draw.theme import DARK, LIGHT, Theme
from pixnet_sd.pl._scales import line_colors, space_sizes

SIZES = [2.0, 8.0, 16.0, 55.0, 110.0]


def results(ends: list[float], name: str = "method {}") -> pd.DataFrame:
    rows = [(name.format(k), size, end * np.log2(size)) for k, end in enumerate(ends) for size in SIZES]
    return pd.DataFrame(rows, columns=["method", "size_um", "pcc"])


def test_lines_hold_the_numbers_by_rising_size_on_a_logarithmic_axis() -> None:
    shuffled = results([0.1, 0.05]).sample(frac=1, random_state=0)
    ax = pl.scales(shuffled)
    assert ax.get_xscale() == "log"
    by_name = {text.get_text(): line for text, line in zip(ax.texts, ax.lines, strict=True)}
    for name, end in (("method 0", 0.1), ("method 1", 0.05)):
        np.testing.assert_array_equal(by_name[name].get_xdata(), SIZES)
        np.testing.assert_allclose(np.asarray(by_name[name].get_ydata(), float), end * np.log2(SIZES))


def test_heights_begin_at_zero() -> None:
    assert pl.scales(results([0.1])).get_ylim()[0] == 0
    assert pl.scales(results([-0.1])).get_ylim()[0] < -0.1 * np.log2(110)


def test_bands_reach_from_lower_to_upper() -> None:
    table = results([0.1]).assign(lower=lambda t: t["pcc"] - 0.05, upper=lambda t: t["pcc"] + 0.05)
    (band,) = pl.scales(table).collections
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.1 - 0.05, 0.1 * np.log2(110) + 0.05))


@pytest.mark.parametrize("ends", [[0.1] * 7, [0.1, 0.101, 0.02], [0.08], list(np.linspace(0.01, 0.1, 14))])
@pytest.mark.parametrize("name", ["m{}", "a method with a rather long name {}"])
def test_no_name_overlaps_another_or_leaves_the_figure(ends: list[float], name: str) -> None:
    ax = pl.scales(results(ends, name), dark=True)
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text).expanded(1, 0.8) for text in ax.texts]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
    frame = ax.figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    assert all(box.x0 >= ax.get_window_extent().x1 for box in boxes)


def test_ticks_stand_at_sizes_that_were_measured_and_do_not_run_together() -> None:
    assert space_sizes(np.array([2.0, 8.0, 50.0, 55.0, 110.0]), 0.06) == [2, 8, 50, 110]
    assert space_sizes(np.array([8.0]), 0.06) == [8]
    labels = [label.get_text() for label in pl.scales(results([0.1])).get_xticklabels()]
    assert labels == ["2", "8", "16", "55", "110"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("count", [1, 6, 7, 8, 30])
def test_every_method_has_its_own_color(count: int, theme: Theme) -> None:
    assert len(set(line_colors(count, theme))) == count


def test_rows_without_a_number_are_left_out() -> None:
    table = results([0.1, 0.05])
    table.loc[table["method"] == "method 1", "pcc"] = np.nan
    assert [text.get_text() for text in pl.scales(table).texts] == ["method 0"]
    with pytest.raises(PixnetValueError, match="None of the 10 rows"):
        pl.scales(table.assign(pcc=np.nan))


def test_what_cannot_be_drawn_is_refused() -> None:
    table = results([0.1])
    with pytest.raises(PixnetKeyError, match="'size_um' is not in the columns of results"):
        pl.scales(table.drop(columns="size_um"))
    with pytest.raises(PixnetValueError, match="both ends"):
        pl.scales(table.assign(lower=0.0))
    with pytest.raises(PixnetValueError, match="5 rows repeat.*'method 0' at 2 µm"):
        pl.scales(pd.concat([table, table]))
    with pytest.raises(PixnetValueError, match="above 0"):
        pl.scales(table.assign(size_um=0.0))


def test_it_is_saved(tmp_path: Path) -> None:
    pl.scales(results([0.1]), save=tmp_path / "scales.png")
    assert (tmp_path / "scales.png").stat().st_size > 1000
