"""The curves are those of the history, and the kept epoch is the one that training keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes

from pixnet_sd import pl
from pixnet_sd._errors import PixnetTypeError, PixnetValueError

TWO = {"loss 1": [3.0, 2.0, 1.0], "validation 1": [0.1, 0.3, 0.2], "loss 2": [3.5, 2.5], "validation 2": [0.4, 0.1]}


def trained(history: dict[str, list[float]]) -> SimpleNamespace:
    return SimpleNamespace(history=history)


def marks(ax: Axes) -> np.ndarray:
    (found,) = (one for one in ax.collections if one.get_gid() == "kept")
    return np.asarray(found.get_offsets())


def test_losses_are_left_validation_right_and_the_best_of_each_member_marked() -> None:
    left, right = pl.training(trained(TWO))
    drawn = [np.asarray(line.get_ydata()).tolist() for ax in (left, right) for line in ax.lines]
    assert drawn == [TWO["loss 1"], TWO["loss 2"], TWO["validation 1"], TWO["validation 2"]]
    assert [np.asarray(line.get_xdata()).tolist() for line in left.lines] == [[1, 2, 3], [1, 2]]
    np.testing.assert_array_equal(marks(right), [[2, 0.3], [1, 0.4]])
    assert left.get_title() == "kept: epochs 2, 1, mean validation 0.350"
    assert right.yaxis.get_label_position() == "right"


def test_of_equal_epochs_the_first_was_kept() -> None:
    _, right = pl.training(trained({"loss 1": [1.0, 1.0, 1.0], "validation 1": [0.1, 0.2, 0.2]}))
    np.testing.assert_array_equal(marks(right), [[2, 0.2]])


def test_epochs_are_whole_and_begin_at_1_and_the_score_begins_at_0() -> None:
    left, right = pl.training(trained({"loss 1": [1.0] * 41, "validation 1": [0.2] * 41}))
    ticks = left.get_xticks()
    assert (ticks[0], ticks[-1]) == (1, 41)
    assert (ticks == np.round(ticks)).all()
    assert right.get_ylim()[0] == 0
    _, right = pl.training(trained({"loss 1": [1.0], "validation 1": [-0.2]}))
    assert right.get_ylim()[0] < -0.2


def test_without_validation_the_last_epoch_was_kept() -> None:
    (only,) = pl.training(trained({"loss 1": [2.0, 1.0]}), dark=True)
    assert only.get_title() == "kept: the last, epoch 2; no validation"


def test_it_draws_into_axes_that_are_given() -> None:
    left, _ = pl.training(trained(TWO))
    left.figure.clear()
    ax = left.figure.add_subplot()
    assert pl.training(trained(TWO), ax=ax)[0] is ax


@pytest.mark.parametrize("history", [{}, {"penalty": [1.0]}, {"loss 1": []}])
def test_a_model_that_was_not_trained_in_epochs_is_refused(history: dict[str, list[float]]) -> None:
    with pytest.raises(PixnetValueError, match="no curve of its loss.*ridge"):
        pl.training(trained(history))


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(PixnetTypeError, match="got dict"):
        pl.training({})  # type: ignore[arg-type]
