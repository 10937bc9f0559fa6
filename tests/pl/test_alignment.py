"""Shapes, tissue and image are seen together, also where they do not fit."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import QuadContourSet
from pl.sections import color_at, quadrant_section

from pixnet_sd import pl
from pixnet_sd._sdata import build


def test_the_outline_of_the_tissue_lies_where_the_tissue_ends() -> None:
    sdata = quadrant_section()
    mask = np.zeros((16, 16), np.uint8)
    mask[:8, :8] = 1
    sdata["he_tissue"] = build.make_labels(mask, build.make_transformations({"global": np.diag([4.0, 4.0, 1.0])}))
    ax = pl.alignment(sdata, "circles")
    assert ax.get_title() == "circles: 25 % on tissue"
    (outline,) = (one for one in ax.collections if isinstance(one, QuadContourSet))
    (path,) = outline.get_paths()
    to_data = outline.get_transform() - ax.transData
    np.testing.assert_allclose(to_data.transform(path.vertices).max(axis=0), [32, 32], atol=2.1)
    np.testing.assert_allclose(to_data.transform(path.vertices).min(axis=0), [0, 0], atol=2.1)


@pytest.mark.parametrize("dark", [False, True])
def test_shapes_beside_the_image_are_shown_but_not_absurdly_far(dark: bool) -> None:
    sdata = quadrant_section()
    away = build.make_transformations({"global": np.array([[1.0, 0, 40], [0, 1, -500], [0, 0, 1]])})
    sdata["away"] = build.make_circles(np.array([[16.0, 16], [48, 48]]), 16, pd.Index(["a", "b"]), away)
    ax = pl.alignment(sdata, "away", dark=dark)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 104), (64, -64))
    assert ax.get_title() == "away: 0 % on tissue"


def test_outlines_leave_the_inside_free() -> None:
    ax = pl.alignment(quadrant_section(), "circles")
    np.testing.assert_array_equal(color_at(ax, 16, 16), [255, 255, 255])
    assert color_at(ax, 16 + 12, 16).min() < 200
