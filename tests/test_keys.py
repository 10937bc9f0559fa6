"""Names that are looked up in vain are answered with those that are close."""

import pytest

from pixnet_sd._errors import PixnetError, PixnetKeyError
from pixnet_sd._keys import check_known, resolve_key
from pixnet_sd._zonal.accumulate import new_state


@pytest.mark.parametrize(
    "look_up",
    [
        lambda: resolve_key("shapes", "Meen", ["spots", "mean"], "shapes_key"),
        lambda: check_known(["MEAN"], ["mean", "b"], "the map"),
        lambda: new_state(1, 1, "meann", 0.5),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(look_up) -> None:
    with pytest.raises(PixnetError, match=r"\. Did you mean 'mean'"):
        look_up()


def test_a_name_like_no_other_is_answered_with_what_there_is() -> None:
    with pytest.raises(PixnetKeyError, match="which holds 2 names. The first are 'aa', 'bb'.$"):
        check_known(["x"], ["aa", "bb"], "the map")
    with pytest.raises(PixnetKeyError, match="is not among the shapes: 'aa', 'bb'.$"):
        resolve_key("shapes", "x", ["aa", "bb"], "shapes_key")
