"""The outline is that of the labels, in their place."""

import numpy as np
import pytest
from pl.sections import color_at, is_blank, quadrant_section

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._sdata import build

HALF = build.make_transformations({"global": np.diag([2.0, 2.0, 1.0])})


def test_the_outline_lies_at_the_border_of_the_labels() -> None:
    section = quadrant_section()
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 1
    section["he_tissue"] = build.make_labels(mask, HALF)
    ax = pl.tissue(section)
    assert ax.get_title() == "he_tissue: 50 % of the image"
    assert ax.get_xlim() == (0, 64)
    red, _, blue = color_at(ax, 32, 32)
    assert red > blue + 50
    assert is_blank(ax, 20, 32)
    assert is_blank(ax, 44, 32)


def test_without_labels_the_way_to_them_is_named() -> None:
    with pytest.raises(PixnetKeyError, match=r"no labels 'he_tissue'. Run pp.tissue\(sdata, 'he'\)"):
        pl.tissue(quadrant_section())
