"""Do shapes lie where they belong on the H&E? Ask before a model learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._frames import SentenceFrame
from pixnet_sd._metrics.alignment import Place, Raster, explained_share, move_centers, other_places, tissue_share
from pixnet_sd._sdata import alignment, elements, images, maps, units
from pixnet_sd._zonal.coverage import coverage as coverage_weights
from pixnet_sd._zonal.shapes import ELLIPSE, Shapes

OK, CHECK, UNKNOWN = "ok", "check", "not checked"
ON_IMAGE, ON_TISSUE, COVERED = 0.95, 0.5, 0.95
"""Least shares of centers on the image, of centers on tissue, and of the shapes' area that the raster covers."""
MORE_TISSUE = 0.1
"""Another place must have so many more centers on tissue before it is believed."""
MORE_EXPLAINED, TIMES_EXPLAINED = 0.02, 1.2
"""Another place must explain so much more expression, as a difference and as a ratio."""
LESS_TISSUE = 0.05
"""Other places with so many fewer centers on tissue are not compared by expression."""
PITCH = 0.05
"""Tolerance of distances."""
ARRAYS_UM = {"Visium": (55, 100), "Visium, as Space Ranger writes it": (65, 100), "Spatial Transcriptomics": (100, 200)}
"""Diameter of a spot, and center to center."""
COLUMNS = ["check", "value", "verdict", "finding"]


@dataclass(frozen=True)
class ReportLine:
    """One line of the report."""

    check: str
    value: float
    verdict_word: str
    finding: str


def check_alignment(
    sdata: SpatialData,
    shapes_key: str | None = None,
    *,
    image_key: str | None = None,
    raster_key: str | None = None,
    table_key: str | None = None,
    layer: str | None = None,
    pitch_um: float | None = None,
    coordinate_system: str | None = None,
    value_range: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Report whether shapes lie where they belong on the H&E: a verdict and plain words for each check.

    The shapes are compared with themselves mirrored, turned, shifted by tenths of their extent and in other scales. A
    place is doubted when another has clearly more centers on tissue, or when the color of another explains clearly
    more of what was measured. Up to 4000 shapes, evenly drawn, stand for all.

    It cannot see shifts below a tenth of the extent. On an image that tissue fills, only counts of 20 shapes or more
    can tell a mirrored place, and where color explains little of the expression even these hardly do. Symmetric
    tissue looks the same either way. So ``"ok"`` means that nothing better was found; look at ``pl.alignment`` too.

    Parameters
    ----------
    sdata
        The object that holds both.
    shapes_key
        Polygons or circles; may be left out when there is one element.
    image_key
        The H&E image; may be left out when there is one.
    raster_key
        The raster that is to be aggregated over the shapes; by default the image itself.
    table_key
        The table with raw counts; may be left out when one annotates the shapes.
    layer
        The layer with raw counts; by default X.
    pitch_um
        Distance of neighboring spots, center to center. By default those of known arrays are tried.
    coordinate_system
        The one in which elements lie over each other; only needed where several disagree.
    value_range
        Black and white of an image that is not uint8.

    Returns
    -------
    One row for each check. ``value`` is a share, where other places were tried that of the best of them, or µm per
    pixel; ``verdict`` is ``"ok"``, ``"check"`` or ``"not checked"``; ``finding`` says it in words.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> section = ps.datasets.breast()
    >>> report = ps.tl.check_alignment(section, "spots")
    >>> bool((report["verdict"] == "check").any())
    False
    """
    image, key = elements.find_image_key(sdata, image_key), elements.find_shapes_key(sdata, shapes_key)
    shapes = alignment.read_shapes_in_image(sdata, key, image, coordinate_system)
    centers = np.where((shapes.area > 0)[:, None], shapes.centroid, np.nan)
    known = centers[np.isfinite(centers).all(axis=1)]
    drawn = known[alignment.even_rows(len(known))]
    size_px = images.read_image(sdata, image).grid.shape
    places = other_places(size_px, known)
    level = alignment.read_overview(sdata, image, value_range)
    tissue = alignment.read_tissue_overview(sdata, image, value_range, level)
    color = alignment.read_color(level, float(np.sqrt(np.median(shapes.area))))
    lines = [
        image_line(drawn, size_px, image),
        *tissue_line(tissue, drawn, places),
        expression_line(sdata, (key, table_key, layer), centers, color, places_on_tissue(tissue, drawn, places)),
        covered_share(sdata, key, raster_key or image, coordinate_system),
        *pitch_line(sdata, image, shapes, known, pitch_um),
    ]
    return SentenceFrame([astuple(line) for line in lines], columns=COLUMNS).set_index("check")


def verdict_word(good: bool) -> str:
    return OK if good else CHECK


def image_line(centers: np.ndarray, size_px: tuple[int, int], image_key: str) -> ReportLine:
    height, width = size_px
    share = float(((centers >= 0) & (centers < [width, height])).all(axis=1).mean())
    finding = f"{share:.0%} of the centers lie on image {image_key!r} of {width} x {height} px"
    return ReportLine("on the image", share, verdict_word(share >= ON_IMAGE), finding)


def tissue_line(tissue: Raster, centers: np.ndarray, places: Sequence[Place]) -> list[ReportLine]:
    """Format the share as placed, and that of the best other place."""
    here = tissue_share(tissue, centers)
    place, there = best_place(places, lambda place: tissue_share(tissue, move_centers(centers, place)))
    finding = f"{here:.0%} of the centers lie on tissue, which fills {tissue.values.mean():.0%} of the image"
    fits = there <= here + MORE_TISSUE
    other = f"{place.words}, {there:.0%} would lie on tissue" if not fits else "no other place tried has clearly more"
    return [
        ReportLine("on tissue", here, verdict_word(here >= ON_TISSUE), finding),
        ReportLine("on tissue, against other places", there, verdict_word(fits), other),
    ]


def places_on_tissue(tissue: Raster, centers: np.ndarray, places: Sequence[Place]) -> list[Place]:
    """Keep the places that put about as many centers on tissue.

    Color explains more expression where some shapes lie on glass, since bare and covered pixels differ more than
    tissues do: of a brain in the right place 11 %, of one turned partly off the section 34 %.
    """
    here = tissue_share(tissue, centers)
    shares = [tissue_share(tissue, move_centers(centers, place)) for place in places]
    return [place for place, share in zip(places, shares, strict=True) if share >= here - LESS_TISSUE]


def best_place(places: Sequence[Place], score: Callable[[Place], float]) -> tuple[Place, float]:
    scores = [score(place) for place in places]
    first = int(np.argmax(scores))
    return places[first], scores[first]


def expression_line(
    sdata: SpatialData,
    keys: tuple[str, str | None, str | None],
    centers: np.ndarray,
    color: Raster,
    places: Sequence[Place],
) -> ReportLine:
    """Whether color explains more of the counts from another place; `keys` name shapes, table and layer."""
    shapes_key, table_key, layer = keys
    name = "expression, against other places"
    try:
        table = alignment.measured_table(sdata, shapes_key, table_key)
        measured = alignment.read_measured_expression(sdata, shapes_key, centers, table, layer)
    except PixnetValueError as error:
        if table_key is not None:
            raise
        return ReportLine(name, float("nan"), UNKNOWN, str(error))
    here = explained_share(color, measured.centers, measured.expression)
    if not places:
        finding = f"color explains {here:.1%} of the expression; no other place tried has as many centers on tissue"
        return ReportLine(name, here, OK, finding)
    place, there = best_place(
        places, lambda place: explained_share(color, move_centers(measured.centers, place), measured.expression)
    )
    fits = there <= max(here + MORE_EXPLAINED, here * TIMES_EXPLAINED)
    finding = f"color explains {here:.1%} of the expression; {place.words}, it would explain {there:.1%}"
    return ReportLine(name, there, verdict_word(fits), finding)


def covered_share(sdata: SpatialData, shapes_key: str, raster_key: str, coordinate_system: str | None) -> ReportLine:
    """Return the share of the shapes' area that lies on the raster, exactly."""
    raster = maps.find_map(sdata, raster_key)
    shapes = alignment.read_shapes_in_image(sdata, shapes_key, raster, coordinate_system)
    drawn = shapes.take(np.flatnonzero(shapes.area > 0))
    drawn = drawn.take(alignment.even_rows(len(drawn)))
    weights = coverage_weights(drawn, images.read_image(sdata, raster).grid.window)
    share = float(weights.sum() / drawn.area.sum())
    finding = f"{raster!r} covers {share:.0%} of the area of the shapes"
    return ReportLine("covered", share, verdict_word(share >= COVERED), finding)


def pitch_line(
    sdata: SpatialData, image_key: str, shapes: Shapes, centers: np.ndarray, stated_um: float | None
) -> list[ReportLine]:
    """µm per pixel by the distance of neighboring spots, against the one that is stated; only for equal circles."""
    diameters = np.sqrt(shapes.area * 4 / np.pi)
    equal = (shapes.kind == ELLIPSE).all() and np.ptp(diameters) < PITCH * diameters.max()
    if len(centers) < 2 or not equal:
        return []
    mpp = units.image_mpp(sdata, image_key)
    pitch_px, diameter_um = units.lattice_pitch(centers), float(diameters.mean() * mpp)
    found = f"spots of {diameter_um:.0f} µm stand {pitch_px * mpp:.0f} µm apart by {mpp:.4g} µm per pixel"
    if stated_um is not None:
        fits = is_near(pitch_px * mpp, stated_um)
        finding = f"{found}; at {stated_um:g} µm apart it would be {stated_um / pitch_px:.4g}"
        return [ReportLine("µm per pixel", stated_um / pitch_px, verdict_word(fits), finding)]
    known = [
        name
        for name, (size, apart) in ARRAYS_UM.items()
        if is_near(diameter_um, size) and is_near(pitch_px * mpp, apart)
    ]
    finding = f"{found}, as on {known[0]}" if known else f"{found}, as on no array known here; pass pitch_um=..."
    return [ReportLine("µm per pixel", mpp, verdict_word(bool(known)), finding)]


def is_near(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= PITCH * wanted
