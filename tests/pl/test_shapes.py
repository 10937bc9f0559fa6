"""Shapes have the color of their own value, where they lie."""

import numpy as np
import pandas as pd
import pytest
import shapely
from matplotlib.colors import to_rgb
from matplotlib.transforms import Affine2D
from pl.sections import IDENTITY, color_at, is_blank, quadrant_section, single

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd._sdata.provenance import set_record
from pixnet_sd._zonal.shapes import from_circles, from_polygons
from pixnet_sd.pl._draw.patches import shape_collections


def test_squares_are_filled_by_their_gene_and_missing_ones_are_not() -> None:
    ax = single(pl.shapes(quadrant_section(), "squares", "GENEA", vmax=None))
    assert is_blank(ax, 16, 48)  # NaN
    darkness = [255 - color_at(ax, x, y).mean() for x, y in ((48, 16), (48, 48), (16, 16))]  # 0, 2, 4
    assert 5 < darkness[0] < darkness[1] < darkness[2]


def test_rows_are_found_by_instance_and_shapes_without_a_row_are_not_filled() -> None:
    ax = single(pl.shapes(quadrant_section(), "circles", "GENEA", vmax=None))
    darkness = {key: 255 - color_at(ax, x, y).mean() for key, x, y in (("ul", 16, 16), ("ur", 48, 16), ("lr", 48, 48))}
    assert darkness["ur"] < darkness["lr"] < darkness["ul"]
    assert is_blank(ax, 16, 48)
    assert is_blank(ax, 32, 32)  # between the circles


def test_categories_have_their_palette_and_a_legend_outside_the_picture() -> None:
    palette = {"k": "#0000ff", "m": "#ff0000"}
    ax = single(pl.shapes(quadrant_section(), "squares", "kind", palette=palette, alpha=1.0))
    for (x, y), category in {(16, 16): "k", (48, 16): "m", (16, 48): "k", (48, 48): "m"}.items():
        np.testing.assert_array_equal(color_at(ax, x, y) / 255, to_rgb(palette[category]))
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["k", "m"]
    assert legend.get_window_extent().x0 >= ax.get_window_extent().x1


def test_colors_that_scanpy_stored_are_used() -> None:
    sdata = quadrant_section()
    table = sdata.tables["squares_expression"]
    table.obs["leiden"] = pd.Categorical(["0", "1", None, "0"])
    table.uns["leiden_colors"] = ["#00ff00", "#ff00ff"]
    ax = single(pl.shapes(sdata, "squares", "leiden", alpha=1.0))
    np.testing.assert_array_equal(color_at(ax, 48, 16), [255, 0, 255])
    assert is_blank(ax, 16, 48)


@pytest.mark.parametrize("kind", ["squares", "circles"])
def test_size_enlarges_each_shape_around_its_center(kind: str) -> None:
    section = quadrant_section()
    small = single(pl.shapes(section, kind, "GENEB", size=0.5))
    side = 16 if kind == "squares" else 12
    assert not is_blank(small, 48, 48)
    assert not is_blank(small, 48 + 0.4 * side, 48)
    assert is_blank(small, 48 + 0.7 * side, 48)
    with pytest.raises(PixnetValueError, match="size is the factor"):
        pl.shapes(section, kind, size=0)


def test_logged_tables_say_so_and_begin_at_their_lowest_values() -> None:
    section = quadrant_section()
    table = section["squares_expression"]
    table.uns["pixnet_sd"] = {"unit": "counts"}
    assert single(pl.shapes(section, "squares", "GENEA")).child_axes[0].get_ylabel() == "expected counts"
    table.X, table.uns["log1p"] = table.X + 5, {"base": None}
    bar = single(pl.shapes(section, "squares", "GENEA")).child_axes[0]
    assert bar.get_ylabel() == "log(1 + expression)"
    assert bar.get_ylim()[0] > 5


def test_without_any_value_the_picture_says_so() -> None:
    section = quadrant_section()
    section["squares_expression"].obs["nothing"] = np.nan
    ax = single(pl.shapes(section, "squares", "nothing"))
    assert [text.get_text() for text in ax.texts if text.get_gid() is None] == ["no value here"]


def test_of_several_images_the_predicted_one_is_below() -> None:
    section = quadrant_section()
    section["other"] = section["he"]
    with pytest.raises(PixnetKeyError, match="image_key="):
        pl.shapes(section, "squares")
    set_record(section, "map", {"kind": "programs", "image": "he"})
    assert single(pl.shapes(section, "squares")).get_title() == "squares"


def test_outlines_leave_the_inside_free() -> None:
    ax = single(pl.shapes(quadrant_section(), "circles"))
    assert all(is_blank(ax, *place) for place in ((16, 16), (48, 48)))
    assert not is_blank(ax, 16 + 12, 16)


@pytest.mark.parametrize("name", ["GENEA", "kind", "total"])
def test_a_panel_each_in_the_order_asked(name: str) -> None:
    sdata = quadrant_section()
    sdata.tables["squares_expression"].obs["total"] = [1, 2, 3, 4]
    axes = pl.shapes(sdata, "squares", ["GENEB", name], dark=True)
    assert isinstance(axes, list)
    assert [ax.get_title() for ax in axes] == ["GENEB", name]


def test_names_that_are_not_there_or_twice() -> None:
    sdata = quadrant_section()
    with pytest.raises(PixnetKeyError, match="Did you mean 'GENEA', 'GENEB'|Did you mean 'GENEB', 'GENEA'"):
        pl.shapes(sdata, "squares", "GENEC")
    sdata.tables["squares_expression"].obs["GENEA"] = 1.0
    with pytest.raises(PixnetValueError, match="rename"):
        pl.shapes(sdata, "squares", "GENEA")


def test_too_many_categories_are_refused() -> None:
    sdata = quadrant_section()
    many = build.make_polygons(
        shapely.box(0, 0, np.arange(1, 201) / 4, 9), pd.RangeIndex(200), IDENTITY, id=np.arange(200).astype(str)
    )
    sdata["many"] = many
    with pytest.raises(PixnetValueError, match="200 categories"):
        pl.shapes(sdata, "many", "id")


def test_a_circle_becomes_the_ellipse_that_the_matrix_makes_of_it() -> None:
    ax = single(pl.expression(quadrant_section(), "GENEB", raster_key="map"))
    matrix = np.array([[1.5, 0.8, 5.0], [-0.2, 0.7, 20.0], [0, 0, 1]])
    ((_, collection),) = shape_collections(from_circles(np.array([[12.0, 8.0]]), 9.0, matrix), ax)
    angles = np.linspace(0, 2 * np.pi, 60)
    circle = np.stack([12 + 9 * np.cos(angles), 8 + 9 * np.sin(angles), np.ones(60)])
    ax.figure.canvas.draw()
    (path,), (transform,) = collection.get_paths(), collection.get_transforms()
    shift = collection.get_offset_transform().transform(collection.get_offsets())
    drawn = collection.get_transform().transform(path.transformed(Affine2D(transform)).to_polygons()[0]) + shift
    ellipse = shapely.Polygon(ax.transData.inverted().transform(drawn))
    exact = shapely.Polygon((matrix @ circle)[:2].T)
    assert ellipse.symmetric_difference(exact).area < 0.01 * exact.area


def test_holes_stay_open_whichever_way_their_rings_run() -> None:
    sdata = quadrant_section()
    shell, hole = [(4, 4), (60, 4), (60, 60), (4, 60)], [(20, 20), (44, 20), (44, 44), (20, 44)]
    for shell_ring in (shell, shell[::-1]):
        for hole_ring in (hole, hole[::-1]):
            ax = single(pl.expression(sdata, "GENEB", raster_key="map", over=True, cmap="gray_r", vmin=1, vmax=2))
            parts = from_polygons(np.array([shapely.Polygon(shell_ring, [hole_ring])]), np.eye(3))
            for _, collection in shape_collections(parts, ax):
                collection.set(facecolor="blue", zorder=3)
            assert is_blank(ax, 32, 32)
            np.testing.assert_array_equal(color_at(ax, 10, 32), [0, 0, 255])
