"""The right place has the right color, in the right units, and nothing is shown where nothing is known."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import spatialdata as sd
from matplotlib.patches import Rectangle
from pl.sections import IDENTITY, SIDE_PX, color_at, is_blank, quadrant_section, single

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd._sdata.provenance import set_record

CENTERS = {"ul": (16, 16), "ur": (48, 16), "ll": (16, 48), "lr": (48, 48)}


def test_only_the_quadrant_with_expression_is_colored() -> None:
    ax = single(pl.expression(quadrant_section(), "GENEA", raster_key="map", normalize=False))
    assert {name for name, place in CENTERS.items() if not is_blank(ax, *place)} == {"ul"}
    assert color_at(ax, 16, 16).max() < 60  # the dark end of the map


@pytest.mark.parametrize("over", [True, False])
def test_missing_is_drawn_as_nothing(over: bool) -> None:
    ax = single(
        pl.expression(
            quadrant_section(missing=True), "GENEA", raster_key="map", normalize=False, crop_coord="he", over=over
        )
    )
    assert {name for name, place in CENTERS.items() if not is_blank(ax, *place)} == {"ul"}


def test_zero_is_a_color_where_the_map_is_drawn_alone() -> None:
    ax = single(pl.expression(quadrant_section(), "GENEA", raster_key="map", normalize=False, over=False))
    assert not is_blank(ax, *CENTERS["lr"])


@pytest.mark.parametrize("mpp", [0.5, 0.23, 3.0])
def test_the_scale_bar_is_as_long_as_it_says(mpp: float) -> None:
    ax = single(pl.expression(quadrant_section(mpp), "GENEA", raster_key="map"))
    (bar,) = (one for one in ax.patches if isinstance(one, Rectangle) and one.get_gid() == "scale_bar")
    label = next(text.get_text() for text in ax.texts if text.get_gid() == "scale_bar_label")
    number, unit = label.split()
    assert unit == "µm"
    assert bar.get_width() * mpp == pytest.approx(float(number))
    assert bar.get_width() <= 64 / 3


def test_without_known_units_the_bar_is_in_pixels_and_boxes_in_um_are_refused() -> None:
    sdata = quadrant_section(None)
    ax = single(pl.expression(sdata, "GENEA", raster_key="map"))
    assert ax.texts[0].get_text() == "10 px"
    with pytest.raises(PixnetValueError, match="is unknown"):
        pl.expression(sdata, "GENEA", raster_key="map", crop_coord=(0, 0, 9, 9))


def test_where_several_images_could_be_the_map_its_argument_is_named() -> None:
    with pytest.raises(PixnetKeyError, match="raster_key="):
        pl.expression(quadrant_section(), "GENEA", image_key="he")


def test_boxes_in_um_px_and_around_shapes() -> None:
    sdata = quadrant_section(0.5)
    for box, unit in (((4, 0, 16, 32), "um"), ((8, 0, 32, 64), "px")):
        ax = single(pl.expression(sdata, "GENEA", raster_key="map", crop_coord=box, crop_unit=unit))  # type: ignore[arg-type]
        assert (ax.get_xlim(), ax.get_ylim()) == ((8, 32), (64, 0))
    around = single(pl.expression(sdata, "GENEA", raster_key="map", crop_coord="circles"))
    np.testing.assert_allclose([*around.get_xlim(), *around.get_ylim()], [2.32, 61.68, 61.68, 2.32])


@pytest.mark.parametrize(
    "box", [(90, 0, 99, 9), (3, 3, 3, 9), (1, 2, 3), (0, 0, np.nan, 1), 5, (0, 0, "9", 9), (None, 0, 9, 9)]
)
def test_boxes_without_area_on_the_image_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(PixnetValueError, match="crop_coord"):
        pl.expression(quadrant_section(), "GENEA", raster_key="map", crop_coord=box)


def test_a_panel_for_each_gene_and_the_unit_beside_it() -> None:
    axes = pl.expression(quadrant_section(), ["GENEB", "GENEA"], raster_key="map")
    assert isinstance(axes, list)
    assert [ax.get_title() for ax in axes] == ["GENEB", "GENEA"]
    assert axes[0].child_axes[0].get_ylabel() == "log(1 + counts per 10,000\nof 2 genes)"
    rates = single(pl.expression(quadrant_section(), "GENEA", raster_key="map", normalize=False))
    assert rates.child_axes[0].get_ylabel() == "expected counts per µm²"
    pl.expression(quadrant_section(), ["GENEB", "GENEA"], raster_key="map", ax=axes)
    with pytest.raises(PixnetValueError, match="1 panels"):
        pl.expression(quadrant_section(), "GENEA", raster_key="map", ax=axes)


def test_titles_and_size_of_the_figure() -> None:
    section = quadrant_section()
    ax = single(pl.expression(section, "GENEA", raster_key="map", title="a title", figsize=(7, 3)))
    assert ax.get_title() == "a title"
    assert (np.array(ax.figure.bbox.size) / ax.figure.dpi).tolist() == [7, 3]
    with pytest.raises(PixnetValueError, match="2 panels need as many titles; title has 1"):
        pl.expression(section, ["GENEA", "GENEB"], raster_key="map", title="one")
    with pytest.raises(PixnetValueError, match="figsize is the size of a new figure"):
        pl.expression(section, "GENEA", raster_key="map", figsize=(7, 3), ax=ax)
    with pytest.raises(PixnetValueError, match=r"figsize must be \(width, height\)"):
        pl.expression(section, "GENEA", raster_key="map", figsize=7)  # type: ignore[arg-type]


def test_shares_need_rates_of_several_genes() -> None:
    section = quadrant_section()
    with pytest.raises(PixnetValueError, match="normalize=True .* its unit is unknown"):
        pl.expression(section, "r", raster_key="he", normalize=True)
    section["one"] = section["map"].sel(c=["GENEB"])
    set_record(section, "one", {"kind": "truth", "unit": "counts/um2"})
    with pytest.raises(PixnetValueError, match="it has one gene only"):
        pl.expression(section, "GENEB", raster_key="one", normalize=True)
    ax = single(pl.expression(section, "GENEB", raster_key="one"))
    assert ax.child_axes[0].get_ylabel() == "expected counts per µm²"


def test_without_any_value_the_picture_says_so() -> None:
    section = quadrant_section(missing=True)
    ax = single(pl.expression(section, "GENEA", raster_key="map", crop_coord=(34, 34, 60, 60), crop_unit="px"))
    assert [text.get_text() for text in ax.texts if text.get_gid() is None] == ["no value here"]
    assert not ax.child_axes


def test_the_default_region_is_where_there_is_tissue_or_a_value() -> None:
    section = quadrant_section(missing=True)
    of_values = single(pl.expression(section, "GENEA", raster_key="map", normalize=False))
    assert (of_values.get_xlim(), of_values.get_ylim()) == ((0, 32), (32, 0))
    section["he_tissue"] = build.make_labels(
        np.eye(SIDE_PX, dtype=np.uint8)[::-1] * (np.arange(SIDE_PX) >= 48), IDENTITY
    )
    for draw in (
        lambda **how: pl.expression(section, "GENEA", raster_key="map", **how),
        lambda **how: pl.shapes(section, "squares", **how),
    ):
        of_tissue, whole = single(draw()), single(draw(crop_coord="he"))
        np.testing.assert_allclose(of_tissue.get_xlim(), [48 - 0.03 * 16, 64])
        np.testing.assert_allclose(of_tissue.get_ylim(), [16 + 0.03 * 16, 0])
        assert (whole.get_xlim(), whole.get_ylim()) == ((0, 64), (64, 0))
    labelled = single(pl.expression(section, "GENEA", raster_key="map", crop_coord="he_tissue"))
    assert labelled.get_xlim() == of_tissue.get_xlim()


def test_unknown_genes_name_those_that_look_like_them() -> None:
    with pytest.raises(PixnetKeyError, match="Did you mean 'GENEA'"):
        pl.expression(quadrant_section(), "Genea", raster_key="map")


def test_nothing_is_shown_and_files_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[bool] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    sdata, file = quadrant_section(), tmp_path / "a.png"
    ax = single(pl.expression(sdata, "GENEA", raster_key="map", save=file))
    assert file.stat().st_size > 1000
    assert not shown
    monkeypatch.setattr(plt, "isinteractive", lambda: True)
    pl.expression(sdata, "GENEA", raster_key="map", ax=ax)
    assert not shown
    pl.expression(sdata, "GENEA", raster_key="map")
    assert shown == [True]


def test_the_object_is_left_as_it_was() -> None:
    sdata = quadrant_section()
    before = {name for _, name, _ in sdata.gen_elements()}, str(sdata.attrs)
    pl.expression(sdata, "GENEA", raster_key="map", dark=True, he="color")
    assert ({name for _, name, _ in sdata.gen_elements()}, str(sdata.attrs)) == before


def test_a_predicted_map_is_found_with_the_image_that_it_came_from() -> None:
    source = quadrant_section()
    genes = list(map(str, source["map"].coords["c"].values))
    loadings = build.make_loadings(np.eye(len(genes)), genes, pd.DataFrame(index=genes), "he_programs")
    images = {"he": source["he"], "he2": source["he"], "he_programs": source["map"]}
    elements = {**images, "he_programs_loadings": loadings}
    sdata = build.make_section(elements, {"he_programs": {"kind": "programs", "image": "he"}}, {})
    ax = single(pl.expression(sdata, "GENEA"))
    assert not is_blank(ax, *CENTERS["ul"])


def test_a_stored_object_is_drawn_like_one_in_memory(tmp_path: Path) -> None:
    sdata = quadrant_section()
    sdata.write(tmp_path / "s.zarr")
    here = single(pl.expression(sdata, "GENEA", raster_key="map"))
    there = single(pl.expression(sd.read_zarr(tmp_path / "s.zarr"), "GENEA", raster_key="map"))
    for place in CENTERS.values():
        np.testing.assert_array_equal(color_at(here, *place), color_at(there, *place))
