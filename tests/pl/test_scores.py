"""Genes from best to worst; names never overlap."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError
from pixnet_sd.pl._scores import spread_apart

VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=9)


def frame(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"pearson": values}, index=[f"GENE{k}" for k in range(len(values))])


def test_the_curve_is_sorted_and_the_summaries_are_those_of_the_scores() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, 101)
    values[7] = np.nan
    ax = pl.scores(frame(values))
    found = values[~np.isnan(values)]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), np.sort(found)[::-1])
    texts = {text.get_text() for text in ax.texts}
    quartile, median, mean = np.quantile(found, 0.25), np.median(found), found.mean()
    assert {f"first quartile {quartile:.2f}", f"median {median:.2f}", f"mean {mean:.2f}"} <= texts
    assert f"GENE{np.nanargmax(values)}" in texts
    assert f"GENE{np.nanargmin(values)}" in texts
    assert ax.get_xlabel() == "100 genes, best first (1 without a score left out)"


@pytest.mark.parametrize("values", [np.full(40, 0.3), np.linspace(-0.2, 0.7, 300), np.array([0.1]), np.arange(5) / 9])
def test_no_text_overlaps_another_or_leaves_the_figure(values: np.ndarray) -> None:
    ax = pl.scores(frame(values), dark=True)
    figure = ax.figure
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without the line to the point
    # Letters need less than the height of their box.
    inner = [box.expanded(1, 0.8) for box in boxes]
    assert not any(one.overlaps(other) for k, one in enumerate(inner) for other in inner[:k])
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@given(VALUES)
def test_apart_keeps_order_and_distance_and_moves_only_where_it_must(values: list[float]) -> None:
    given_values = np.array(values)
    places = spread_apart(given_values, 0.1, -1.5, 1.5)
    order = np.argsort(given_values, kind="stable")
    assert (np.diff(places[order]) >= 0.1 - 1e-9).all()
    assert places.min() >= -1.5 - 1e-9
    assert places.max() <= 1.5 + 1e-9
    if (np.diff(given_values[order]) >= 0.1).all():
        np.testing.assert_allclose(places, given_values, atol=1e-9)


def test_several_tables_are_a_curve_each_with_its_median() -> None:
    tables = {"a": frame(np.array([0.1, 0.5, 0.3])), "b": frame(np.array([0.2, np.nan]))}
    ax = pl.scores(tables)
    assert [np.asarray(line.get_ydata()).tolist() for line in ax.lines[:2]] == [[0.5, 0.3, 0.1], [0.2]]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a: median 0.30, 3 genes", "b: median 0.20, 1 genes"]
    assert ax.get_xlabel() == "genes, best first (1 without a score left out)"


@pytest.mark.parametrize("names", ["HNRNPA2B1-AS12", "A"])
def test_names_lie_beside_the_axis_whatever_their_length(names: str) -> None:
    ax = pl.scores(frame(np.linspace(-0.2, 0.7, 300)).rename(index=lambda gene: names + gene))
    ax.figure.canvas.draw()
    left, right = ax.get_window_extent().x0, ax.get_window_extent().x1
    curve = ax.transData.transform([(1, 0), (300, 0)])[:, 0]
    for box in (Text.get_window_extent(text) for text in ax.texts):
        assert left <= box.x0 and box.x1 <= curve[0] or curve[1] <= box.x0 and box.x1 <= right


def test_other_things_than_tables_are_refused() -> None:
    with pytest.raises(PixnetTypeError, match="results must be a DataFrame; got dict"):
        pl.scales({"a": frame(np.arange(3.0))})
    with pytest.raises(PixnetTypeError, match=r"scores\['a'\] must be a DataFrame; got list"):
        pl.scores({"a": [1.0, 2.0]})
    with pytest.raises(PixnetValueError, match="scores is empty"):
        pl.scores({})


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(PixnetKeyError, match="'spearman' is not in the columns of scores"):
        pl.scores(frame(np.ones(3)), "spearman")
    with pytest.raises(PixnetValueError, match="all are NaN"):
        pl.scores(frame(np.full(3, np.nan)))
