"""Shapes elements as SpatialData holds them."""

import numpy as np
import pytest
from geopandas import GeoDataFrame
from shapely import Point, box

from pixnet_sd._sdata.shapes import measure_areas


@pytest.mark.parametrize("missing", [None, Point()])
def test_a_missing_circle_leaves_the_areas_of_the_others(missing: Point | None) -> None:
    circles = GeoDataFrame({"radius": [2.0, 2.0]}, geometry=[Point(0, 0), missing])
    assert measure_areas(circles)[0] == pytest.approx(4 * np.pi, rel=1e-15)


def test_polygons_may_have_a_column_radius() -> None:
    squares = GeoDataFrame({"radius": [9.0]}, geometry=[box(0, 0, 2, 3)])
    assert measure_areas(squares).tolist() == [6.0]
