"""Shapes land on the right pixels, whatever lies between the two elements."""

import numpy as np
import pandas as pd
import pytest
import shapely
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._raster.grid import PixelGrid
from pixnet_sd._sdata import affine, build
from pixnet_sd._sdata.shapes import read_shapes


def rotation(degrees: float, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    matrix[:2, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix[:2, 2] = shift
    return matrix


def section(
    image_systems: dict[str, np.ndarray], shape_systems: dict[str, np.ndarray], shapes: dict | None = None
) -> SpatialData:
    image = build.make_image(
        np.zeros((3, 60, 80), np.uint8), ["r", "g", "b"], build.make_transformations(image_systems)
    )
    places = shapes or {"circles": np.array([[10.0, 20.0], [30.0, 25.0]])}
    frame = (
        build.make_circles(places["circles"], 4.0, pd.Index([0, 1]), build.make_transformations(shape_systems))
        if "circles" in places
        else build.make_polygons(
            places["polygons"], pd.RangeIndex(len(places["polygons"])), build.make_transformations(shape_systems)
        )
    )
    return build.make_section({"he": image, "cells": frame}, {}, {})


def test_scale_translation_and_30_degrees_against_known_truth() -> None:
    image_to_world = rotation(30, scale=0.5, shift=(100.0, -40.0))
    corners_px = np.array([[10.0, 12.0], [25.0, 12.0], [25.0, 30.0], [10.0, 30.0]])
    corners_world = corners_px @ image_to_world[:2, :2].T + image_to_world[:2, 2]
    shapes_to_world = np.array([[2.0, 0.3, 5.0], [0.0, 1.5, -3.0], [0.0, 0.0, 1.0]])
    own = (corners_world - shapes_to_world[:2, 2]) @ np.linalg.inv(shapes_to_world[:2, :2]).T
    sdata = section(
        {"world": image_to_world}, {"world": shapes_to_world}, {"polygons": np.array([shapely.Polygon(own)])}
    )
    placed = read_shapes(sdata, "cells", "he", PixelGrid(60, 80))
    np.testing.assert_allclose(placed.shapes.bounds[0], [10, 12, 25, 30], atol=1e-6)
    np.testing.assert_allclose(placed.shapes.area, [15 * 18], rtol=1e-9)


def test_raster_of_stride_8_divides_places_by_8() -> None:
    sdata = section({"global": np.eye(3)}, {"global": np.eye(3)})
    placed = read_shapes(sdata, "cells", "he", PixelGrid(60, 80).coarsened(8))
    np.testing.assert_allclose(placed.shapes.centroid, np.array([[10, 20], [30, 25]]) / 8, atol=1e-12)


def test_anisotropic_transform_makes_ellipses() -> None:
    sdata = section({"global": np.eye(3)}, {"global": np.diag([2.0, 0.5, 1.0])})
    placed = read_shapes(sdata, "cells", "he", PixelGrid(60, 80))
    np.testing.assert_allclose(placed.shapes.area, np.pi * 16, rtol=1e-12)
    np.testing.assert_allclose(placed.shapes.bounds[0], [20 - 8, 10 - 2, 20 + 8, 10 + 2], atol=1e-9)


def test_no_common_coordinate_system_is_an_error_that_lists_both() -> None:
    sdata = section({"global": np.eye(3)}, {"elsewhere": np.eye(3)})
    with pytest.raises(PixnetValueError, match=r"share no coordinate system.*elsewhere.*global"):
        affine.matrix_between(sdata, "cells", "he")


def test_systems_that_disagree_must_be_chosen_between() -> None:
    sdata = section({"a": np.eye(3), "b": np.eye(3)}, {"a": np.eye(3), "b": rotation(0, 1.5)})
    with pytest.raises(PixnetValueError, match="px apart"):
        affine.matrix_between(sdata, "cells", "he")
    np.testing.assert_allclose(affine.matrix_between(sdata, "cells", "he", "b"), rotation(0, 1.5))
    with pytest.raises(PixnetKeyError, match="these do: 'a', 'b'"):
        affine.matrix_between(sdata, "cells", "he", "c")


def test_systems_that_agree_need_no_choice() -> None:
    world = rotation(70, 3.0, (5.0, 6.0))
    sdata = section({"a": np.eye(3), "b": world}, {"a": np.eye(3), "b": world})
    np.testing.assert_allclose(affine.matrix_between(sdata, "cells", "he"), np.eye(3), atol=1e-12)


def test_singular_image_transform_is_an_error() -> None:
    sdata = section({"global": np.diag([1.0, 0.0, 1.0])}, {"global": np.eye(3)})
    with pytest.raises(PixnetValueError, match="cannot be inverted"):
        affine.matrix_between(sdata, "cells", "he")


def test_a_raster_over_an_image_lies_where_its_pixels_lie_in_every_system() -> None:
    sdata = section({"global": np.eye(3), "world": rotation(20, 0.5, (3.0, 4.0))}, {"global": np.eye(3)})
    grid = PixelGrid(8, 10, step=(8.0, 8.0), origin=(2.0, 1.0))
    placed = affine.grid_transformations(sdata["he"], grid)
    for name, onwards in affine.get_transformations(sdata["he"]).items():
        np.testing.assert_allclose(
            affine.to_matrix(placed[name]), affine.to_matrix(onwards) @ grid.to_source, atol=1e-12
        )
