"""Tissue labels lie on a raster where their transformations say."""

import numpy as np
import pytest
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError
from pixnet_sd._raster.grid import PixelGrid, Window
from pixnet_sd._sdata import build, masks

GRID = PixelGrid(10, 12, (4.0, 4.0))
QUARTER_TURN = np.array([[0.0, -8.0, 48.0], [8.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""From labels to the image: x = 48 - 8 row, y = 8 column."""


def slide(labels: np.ndarray, to_image: np.ndarray) -> SpatialData:
    image = build.make_image(np.zeros((3, 40, 48), np.uint8), "rgb", build.make_transformations({"global": np.eye(3)}))
    return build.make_section(
        {"he": image, "he_tissue": build.make_labels(labels, build.make_transformations({"global": to_image}))}, {}, {}
    )


def test_a_turned_mask_is_looked_up_at_the_center_of_each_pixel() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (6, 5), dtype=np.uint8)
    tissue = masks.read_tissue(slide(labels, QUARTER_TURN), "he", "auto", GRID, 0.5)
    assert tissue is not None
    rows, columns = np.indices(GRID.shape)
    x, y = 4 * columns + 2, 4 * rows + 2
    expected = labels[(48 - x) // 8, y // 8] > 0
    np.testing.assert_array_equal(tissue.on(GRID.window), expected)
    np.testing.assert_array_equal(tissue.on(Window(3, 5, 7, 12)), expected[3:7, 5:12])


def test_beyond_the_labels_there_is_no_tissue() -> None:
    tissue = masks.read_tissue(slide(np.ones((2, 3), np.uint8), np.diag([8.0, 8.0, 1.0])), "he", "auto", GRID, 0.5)
    assert tissue is not None
    assert tissue.on(GRID.window).sum() == 4 * 6
    assert not tissue.on(Window(20, 20, 24, 24)).any()


def test_labels_that_were_named_must_be_there() -> None:
    sdata = slide(np.ones((2, 3), np.uint8), np.eye(3))
    with pytest.raises(PixnetKeyError, match=r"tissue_key='other'.*he_tissue"):
        masks.read_tissue(sdata, "he", "other", GRID, 0.5)
    assert masks.read_tissue(sdata, "he", None, GRID, 0.5) is None
