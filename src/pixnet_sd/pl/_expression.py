"""Plot of expression maps over the H&E image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import as_list, check_known
from pixnet_sd._sdata import maps, provenance
from pixnet_sd._sdata.drawing import PlacedPicture, map_picture, share_picture
from pixnet_sd._sdata.maps import LOG, RATE, Map
from pixnet_sd.pl._draw.backdrop import Backdrop, HeStyle, draw_backdrop, place_image, read_backdrop
from pixnet_sd.pl._draw.canvas import Panel, finish_figure, one_or_all, panel_titles, picture_panels
from pixnet_sd.pl._draw.colors import Limit, find_limits, make_colors
from pixnet_sd.pl._draw.furniture import COLOR_BAR_IN, draw_color_bar, draw_frame, format_unit, say_nothing_here
from pixnet_sd.pl._draw.theme import Theme, theme_of
from pixnet_sd.pl._draw.view import CropUnit, MapView, Region, find_he_key, find_view


def expression(
    sdata: SpatialData,
    genes: str | Sequence[str],
    *,
    image_key: str | None = None,
    raster_key: str | None = None,
    normalize: bool | None = None,
    crop_coord: Region | None = None,
    crop_unit: CropUnit = "um",
    coordinate_system: str | None = None,
    over: bool = True,
    he: HeStyle = "gray",
    value_range: tuple[float, float] | None = None,
    cmap: str | Colormap | None = None,
    vmin: Limit = None,
    vmax: Limit = "p99",
    alpha: float = 0.9,
    ncols: int = 4,
    figsize: tuple[float, float] | None = None,
    title: str | Sequence[str] | None = None,
    dark: bool = False,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes | list[Axes]:
    """Draw the map of one or several genes over the H&E image.

    Where a map holds rates of several genes, the share of each gene is drawn: the density of RNA varies more over a
    section than any share does, and would make all maps alike. Shares are also what scores are computed from.

    Opacity increases with expression, so that the tissue stays visible; pixels without a value are transparent. Only
    the resolution that the figure can show is read, so a whole slide takes seconds.

    Parameters
    ----------
    sdata
        SpatialData object with the map and the image.
    genes
        Gene or genes, one panel each; any channel of the map.
    image_key
        Key of the H&E image. Default: the one that the map was predicted from, or the only one.
    raster_key
        Key of the map: predicted programs or genes, or any image with named channels. Default: the only predicted
        map, or the only image.
    normalize
        `True` draws ln(1 + counts of the gene per 10,000 of all genes of the map); pixels with hardly any counts have
        no share. `False` draws expected counts per µm². Default: `True` for rates of more than one gene. Other maps are
        drawn as they are.
    crop_coord
        Region to draw: ``(x0, y0, x1, y1)`` in `crop_unit`, from the image's upper left corner, or the key of shapes
        or labels, whose extent is drawn with a margin, or of an image, for all of it. Default: the tissue if it is
        marked, else where the map has values.
    crop_unit
        Unit of `crop_coord`: ``"um"``, or ``"px"`` for pixels of the image's finest level.
    coordinate_system
        Coordinate system that aligns the elements. Only needed if several disagree.
    over
        Draw the H&E below. Otherwise the map is drawn alone and opaque.
    he
        How to show the H&E: ``"gray"`` (inverted on a dark figure) or ``"color"``.
    value_range
        Intensity range ``(black, white)`` of an H&E image that is not uint8, e.g. ``(0, 65535)``.
    cmap
        Matplotlib colormap. Default: magma, reversed on light figures so that low values are light.
    vmin, vmax
        Limits of the color scale: numbers, or percentiles of the values drawn, such as ``"p99"``. Default of `vmin`:
        ``"p1"`` for logarithms; otherwise 0, or the minimum if that is negative.
    alpha
        Opacity of the highest values.
    ncols
        Number of panels per row.
    figsize
        Width and height of a new figure in inches. Default: by the number and shape of the panels.
    title
        Title of each panel. Default: the gene.
    dark
        Draw light text on a dark figure.
    ax
        Axes to draw into, one per gene. Use a figure with ``layout="constrained"`` to avoid overlaps.
    show
        Whether to show the figure. By default, only a new figure in an interactive session.
    save
        Path to save the figure to.

    Returns
    -------
    The axes, in pixels of the image's finest level with y down; a list where `genes` is one.

    See Also
    --------
    shapes : Cells, spots and bins by the values in their table.
    tissue : The outline of the tissue.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> gene = sdata.tables["truth_loadings"].var_names[0]
    >>> ax = ps.pl.expression(sdata, gene, raster_key="truth")
    >>> ax.get_title() == gene
    True
    """
    names, theme = as_list(genes, "genes"), theme_of(dark)
    titles = panel_titles(title, names)
    raster = read_whole(sdata, raster_key, names)
    share = draws_shares(raster, normalize)
    frame = frame_key(sdata, image_key, raster, over)
    view = find_view(sdata, frame, crop_coord, crop_unit, coordinate_system, raster=raster)
    panels = picture_panels(
        len(names), view.aspect, ax=ax, ncols=ncols, beside_in=COLOR_BAR_IN, theme=theme, figsize=figsize
    )
    backdrop = read_backdrop(sdata, view, Backdrop(over, he, value_range), panels[0], theme)
    above = read_values_of(sdata, raster, names, share, view, panels[0].width_px, coordinate_system)
    colors = make_colors(cmap, alpha if over else 1.0, theme, fade=over)
    unit, ends = describe_values(raster, share), (lowest_limit(vmin, raster, share), vmax)
    for panel, name, values in zip(panels, titles, above.data, strict=True):
        draw_backdrop(panel.ax, backdrop)
        draw_values(panel, values, above.to_image, colors, ends, unit, theme)
        draw_frame(panel, view, theme, name)
    axes = [panel.ax for panel in panels]
    finish_figure(axes, new=ax is None, show=show, save=save)
    return one_or_all(axes, isinstance(genes, str))


def read_whole(sdata: SpatialData, raster_key: str | None, names: list[str]) -> Map:
    """Read a map that has the genes; of genes that were attached over programs, those programs with all genes."""
    found = maps.read_map(sdata, raster_key)
    check_known(names, found.genes, f"the map {found.key!r}")
    return found if raster_key in (None, found.key) else maps.read_map(sdata, found.key)


def draws_shares(raster: Map, normalize: bool | None) -> bool:
    """Check whether shares can be drawn, and whether they are by default."""
    able = raster.unit == RATE and len(raster.genes) > 1
    if normalize and not able and raster.unit != LOG:
        found = f"its unit is {raster.unit or 'unknown'}" if raster.unit != RATE else "it has one gene only"
        raise PixnetValueError(
            f"normalize=True draws the share of a gene among all genes, which needs counts per µm² of more than one; "
            f"{raster.key!r} has none: {found}. Leave normalize out to draw its values as they are."
        )
    return able and normalize is not False


def frame_key(sdata: SpatialData, image_key: str | None, raster: Map, over: bool) -> str:
    """Return the image that defines the axes: the H&E, or the map itself with ``over=False``."""
    source = (provenance.get_record(sdata, raster.key) or {}).get("image")
    if image_key is None and source in sdata.images:
        return str(source)
    if image_key is None and not over:
        return raster.key
    return find_he_key(sdata, image_key)


def read_values_of(
    sdata: SpatialData,
    raster: Map,
    names: list[str],
    share: bool,
    view: MapView,
    width_px: float,
    coordinate_system: str | None,
) -> PlacedPicture:
    place = view.image_key, view.box, width_px, coordinate_system
    if share:
        return share_picture(sdata, raster, names, *place)
    return map_picture(sdata, maps.select_genes_of(raster, names), *place)


def describe_values(raster: Map, share: bool) -> str:
    return f"log(1 + counts per 10,000\nof {len(raster.genes):,} genes)" if share else format_unit(raster.unit)


def lowest_limit(stated: Limit, raster: Map, share: bool) -> Limit:
    # Logarithms do not begin at 0: a scale that does would show one color.
    return "p1" if stated is None and (share or raster.unit == LOG) else stated


def draw_values(
    panel: Panel,
    values: np.ndarray,
    to_image: np.ndarray,
    colors: Colormap,
    ends: tuple[Limit, Limit],
    unit: str,
    theme: Theme,
) -> None:
    if not np.isfinite(values).any():
        say_nothing_here(panel, theme)
        return
    drawn = place_image(
        panel.ax, np.ma.masked_invalid(values), to_image, cmap=colors, norm=find_limits(values, *ends), zorder=1
    )
    draw_color_bar(panel, drawn, unit, theme)
