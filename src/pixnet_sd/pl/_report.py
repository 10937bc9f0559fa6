"""Report of a slide: one HTML file with all of its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from spatialdata import SpatialData

from pixnet_sd import __version__
from pixnet_sd._errors import PixnetError, PixnetValueError, one_line
from pixnet_sd._files import replace_files
from pixnet_sd._metrics.scores import quartiles
from pixnet_sd._sdata import elements, images, maps
from pixnet_sd._settings import logger
from pixnet_sd.pl._draw import page, sheet, summary
from pixnet_sd.pl._draw.backdrop import Backdrop
from pixnet_sd.pl._draw.view import MapView, find_view
from pixnet_sd.pl._expression import expression
from pixnet_sd.pl._scores import scores as draw_scores
from pixnet_sd.pl._shapes import shapes as draw_shapes
from pixnet_sd.pl._tissue import tissue as draw_tissue

LARGEST_BYTES = 5_000_000
MOST_CLUSTERS, MOST_PAIRS = 4, 2
MOST_SHAPES = 200_000
"""Shapes that are drawn; more take minutes and cannot be told apart."""
STRANGE = 0.5
"""Share of unfamiliar patches from which `tl.predict` warns."""


@dataclass(frozen=True)
class Slide:
    """What the sections of a report are made from."""

    sdata: SpatialData
    whole: MapView
    """All of the image."""
    view: MapView
    """What maps and shapes are drawn on: the tissue, if it is marked."""
    backdrop: Backdrop
    scale: summary.Scale
    raster_key: str | None
    """The map; None if none was predicted."""
    genes: Sequence[str] | None
    n_genes: int

    @property
    def image_key(self) -> str:
        return self.view.image_key


def report(
    sdata: SpatialData,
    path: str | Path,
    *,
    image_key: str | None = None,
    raster_key: str | None = None,
    genes: Sequence[str] | None = None,
    n_genes: int = 8,
    name: str | None = None,
    value_range: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a report of a slide as one HTML file, with nothing to load from elsewhere.

    It shows what is there: the image with µm per pixel and where that comes from; tissue and artifacts; how familiar
    the model is with the stain; maps of the genes that it predicts best; categories such as clusters; scores where the
    same shapes have counts; and the records of all results. It has at most 5 MB and can be printed.

    Parameters
    ----------
    sdata
        SpatialData object with the image.
    path
        File to write, e.g. ``"slide.html"``.
    image_key
        Key of the H&E image. Optional if the object has exactly one image.
    raster_key
        Key of the map. Default: the only one predicted from the image.
    genes
        Genes to draw. Default: those with the highest held-out scores.
    n_genes
        Number of genes to draw by default.
    name
        Title. Default: the name of the store, or of the file.
    value_range
        Intensity range ``(black, white)`` of an image that is not uint8, e.g. ``(0, 65535)``.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    PixnetValueError
        If the file exists, its folder does not, or its name does not end in ``.html``.

    See Also
    --------
    pixnet_sd.pl.report_index : One page for all slides of a cohort.
    pixnet_sd.pp.quality : Artifacts, to be shown in the report.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.pl.report(sdata, "toy.html")  # doctest: +SKIP
    """
    file = check_file(path, overwrite=overwrite)
    slide = read_slide(sdata, image_key, raster_key, genes, n_genes, value_range)
    facts: dict[str, Any] = {"name": name or name_slide(sdata, file), "version": __version__}
    sections = [describe_section(title, describe, slide, facts) for title, describe in SECTIONS.items()]
    content = page.make_page(facts["name"], sections, facts).encode()
    if len(content) > LARGEST_BYTES:
        raise PixnetValueError(
            f"The report would have {len(content):,} bytes, more than {LARGEST_BYTES:,}. Draw fewer genes."
        )
    replace_files(file.parent, {file.name: content})
    logger.info("wrote %s, %.1f MB", file, len(content) / 1e6)


def check_file(path: str | Path, *, overwrite: bool) -> Path:
    file = Path(path)
    if file.suffix.lower() not in (".html", ".htm"):
        raise PixnetValueError(f"A report is an HTML file; {str(file)!r} does not end in .html.")
    if not file.parent.is_dir():
        raise PixnetValueError(f"There is no folder {str(file.parent)!r} to write {file.name!r} into. Make it first.")
    if file.exists() and not overwrite:
        raise PixnetValueError(f"{str(file)!r} exists already. Pass overwrite=True to replace it.")
    return file


def read_slide(
    sdata: SpatialData,
    image_key: str | None,
    raster_key: str | None,
    genes: Sequence[str] | None,
    n_genes: int,
    value_range: tuple[float, float] | None,
) -> Slide:
    key = elements.find_image_key(sdata, image_key)
    images.check_rgb(images.read_image(sdata, key), value_range)
    if n_genes < 0:
        raise PixnetValueError(f"n_genes must not be negative; got {n_genes}.")
    chosen = raster_key or find_map(sdata, key)
    if genes is not None or raster_key is not None:
        maps.read_map(sdata, chosen, genes)
    backdrop = Backdrop(True, "color", value_range)
    whole, view = (find_view(sdata, key, region, "um") for region in (key, None))
    return Slide(sdata, whole, view, backdrop, summary.read_scale(sdata, key), chosen, genes, n_genes)


def find_map(sdata: SpatialData, image_key: str) -> str | None:
    found = summary.find_maps(sdata, image_key)
    if len(found) > 1:
        raise PixnetValueError(f"There are {len(found)} maps of {image_key!r}: {found}. Choose with raster_key=...")
    return found[0] if found else None


def name_slide(sdata: SpatialData, file: Path) -> str:
    return Path(str(sdata.path)).stem if sdata.is_backed() else file.stem


Describe = Callable[[Slide, dict[str, Any]], Sequence[str]]


def describe_section(title: str, describe: Describe, slide: Slide, facts: dict[str, Any]) -> str:
    """Compose a section; where its elements cannot be read, it says why, and the others are still written."""
    try:
        return page.make_section(title, *describe(slide, facts))
    except PixnetError as error:
        return page.make_section(title, page.make_note(f"Not shown: {one_line(error)}", alert=True))


def describe_image(slide: Slide, facts: dict[str, Any]) -> list[str]:
    grid, scale = images.read_image(slide.sdata, slide.image_key).grid, slide.scale
    rows = [("image", slide.image_key), ("pixels", f"{grid.width:,} x {grid.height:,}")]
    if scale.mpp is not None:
        size = f"{grid.width * scale.mpp / 1e3:.2f} x {grid.height * scale.mpp / 1e3:.2f} mm"
        rows += [("size", size), ("µm per pixel", f"{scale.mpp:.4g}, by {scale.source}")]
    else:
        rows += [("µm per pixel", scale.source)]
    facts.update(width_px=grid.width, height_px=grid.height, mpp=scale.mpp)
    picture = sheet.draw_sheet(
        1, 1, slide.whole.aspect, lambda axes: sheet.draw_he(slide.sdata, slide.whole, slide.backdrop, axes[0], "")
    )
    return [page.make_facts(rows), page.make_picture(picture, "The H&E image")]


def describe_tissue(slide: Slide, facts: dict[str, Any]) -> list[str]:
    found = summary.measure_tissue(slide.sdata, slide.image_key, slide.scale.mpp)
    quality = summary.find_quality(slide.sdata, slide.image_key)
    rows = []
    if found is not None:
        area = f", {found['mm2']:.2f} mm²" if "mm2" in found else ""
        rows.append(("tissue", f"{found['share']:.1%} of the image{area}"))
        facts["tissue_mm2"] = found.get("mm2")
    if quality is not None:
        shares = summary.share_artifacts(slide.sdata.tables[f"{quality}_tiles"].obs)
        rows += [(name, f"{share:.1%} of the tissue") for name, share in shares.items() if name != "none"]
        facts["artifacts"] = 1 - shares["none"]
    note = "" if quality else page.make_note("Artifacts were not looked for; pp.quality finds them.")
    drawn = draw_masks(slide, found is not None, quality)
    return [page.make_facts(rows) if rows else "", drawn, note]


def draw_outline(slide: Slide, ax: Axes) -> None:
    value_range = slide.backdrop.value_range
    draw_tissue(slide.sdata, slide.image_key, value_range=value_range, title="tissue", ax=ax, show=False)


def draw_masks(slide: Slide, has_tissue: bool, quality: str | None) -> str:
    sdata, whole = slide.sdata, slide.whole
    draws: list[Callable[[Axes], None]] = []
    if has_tissue:
        draws.append(partial(draw_outline, slide))
    if quality is not None:
        draws.append(lambda ax: sheet.draw_quality(sdata, whole, quality, slide.backdrop, ax))
    if not draws:
        return ""
    picture = sheet.draw_sheet(
        len(draws), 2, whole.aspect, lambda axes: [draw(ax) for draw, ax in zip(draws, axes, strict=True)]
    )
    return page.make_picture(picture, "Tissue and artifacts on the H&E image")


def describe_map(slide: Slide, facts: dict[str, Any]) -> list[str]:
    if slide.raster_key is None:
        return [page.make_note("No map was predicted from this image; tl.predict makes one.")]
    made = summary.read_records(slide.sdata).get(slide.raster_key, {})
    found = maps.read_map(slide.sdata, slide.raster_key)
    reliable = found.var["reliable"].sum() if "reliable" in found.var else None
    rows = [("map", slide.raster_key), ("model", f"{made.get('model')} ({str(made.get('sha256'))[:8]})")]
    rows += [("unit", str(found.unit)), ("µm per pixel", "unknown" if found.mpp is None else f"{found.mpp:.4g}")]
    rows.append(("genes", f"{len(found.genes):,}{'' if reliable is None else f', {reliable:,} of them reliable'}"))
    facts.update(model=made.get("model"), genes=len(found.genes), outlier_share=made.get("outlier_share"))
    return [page.make_facts(rows), describe_domain(made.get("outlier_share"))]


def describe_domain(share: float | None) -> str:
    """Say how much of the tissue looks like none that the model was trained on."""
    if share is None:
        return page.make_note("The model does not say which stain it was trained on.")
    text = f"{share:.0%} of the patches looked at are outside of the stain that the model was trained on."
    if share <= STRANGE:
        return page.make_note(text)
    return page.make_note(f"{text} Its held-out scores say nothing about this slide.", alert=True)


def describe_genes(slide: Slide, facts: dict[str, Any]) -> list[str]:
    if slide.raster_key is None:
        return []
    var = summary.rank_genes(maps.read_map(slide.sdata, slide.raster_key).var)
    genes = list(map(str, slide.genes if slide.genes is not None else var.index[: slide.n_genes]))
    if not genes:
        return []
    return [picture_genes(slide, genes), tabulate_genes(var.loc[genes])]


def picture_genes(slide: Slide, genes: list[str]) -> str:
    def draw(axes: list[Axes]) -> None:
        expression(
            slide.sdata,
            genes,
            image_key=slide.image_key,
            raster_key=slide.raster_key,
            value_range=slide.backdrop.value_range,
            ax=axes,
            show=False,
        )

    return page.make_picture(sheet.draw_sheet(len(genes), 4, slide.view.aspect, draw), f"Maps of {', '.join(genes)}")


def tabulate_genes(var: pd.DataFrame) -> str:
    if "score" not in var:
        return page.make_note("The model has no held-out scores, so nothing says which genes are reliable.")
    rows = [[str(gene), f"{row['score']:.2f}", "yes" if row["reliable"] else "no"] for gene, row in var.iterrows()]
    return page.make_table(["gene", "held-out Pearson correlation", "reliable"], rows)


def describe_tables(slide: Slide, facts: dict[str, Any]) -> list[str]:
    found = summary.list_annotations(slide.sdata)
    if not found:
        return []
    rows = []
    for one in found:
        table = slide.sdata.tables[one.table_key]
        kind = "predicted" if summary.is_predicted(slide.sdata, one.table_key) else "measured"
        rows.append([one.table_key, one.shapes_key, f"{table.n_obs:,}", f"{table.n_vars:,}", kind])
    facts["tables"] = [one.table_key for one in found]
    return [page.make_table(["table", "shapes", "rows", "genes", "kind"], rows)]


def describe_clusters(slide: Slide, facts: dict[str, Any]) -> list[str]:
    found = [
        (one, column)
        for one, column in summary.list_clusters(slide.sdata)
        if len(slide.sdata.shapes[one.shapes_key]) <= MOST_SHAPES
    ][:MOST_CLUSTERS]
    return [picture_clusters(slide, one, column) for one, column in found]


def picture_clusters(slide: Slide, one: summary.Annotation, column: str) -> str:
    def draw(axes: list[Axes]) -> None:
        draw_shapes(
            slide.sdata,
            one.shapes_key,
            column,
            table_key=one.table_key,
            image_key=slide.image_key,
            value_range=slide.backdrop.value_range,
            title=f"{column} of {one.table_key}",
            ax=axes,
            show=False,
        )

    return page.make_picture(sheet.draw_sheet(1, 1, slide.view.aspect, draw), f"{column} of {one.table_key}")


def describe_scores(slide: Slide, facts: dict[str, Any]) -> list[str]:
    parts = []
    for predicted, measured in [*summary.list_pairs(slide.sdata)][:MOST_PAIRS]:
        scores = summary.score_pair(slide.sdata, predicted, measured)
        found = quartiles(scores["pearson"].to_numpy())
        facts.setdefault("pearson", found["PCC@M"])
        what = f"{predicted} against {measured}: {len(scores):,} genes, {scores.attrs['n_shapes']:,} shapes"
        rows = [(name, f"{value:.3f}") for name, value in found.items()]
        parts += [page.make_note(what), page.make_facts(rows), picture_scores(scores, what)]
    return parts


def picture_scores(scores: pd.DataFrame, what: str) -> str:
    draw = partial(draw_scores, show=False)
    return page.make_picture(sheet.draw_sheet(1, 1, 0.4, lambda axes: draw(scores, ax=axes[0])), what)


def describe_records(slide: Slide, facts: dict[str, Any]) -> list[str]:
    where = str(slide.sdata.path) if slide.sdata.is_backed() else "in memory"
    records = json.dumps(summary.read_records(slide.sdata), indent=1, default=str)
    rows = [("object", where), ("report", f"pixnet-sd {__version__}")]
    return [page.make_facts(rows), page.make_details("Records of all results", records)]


SECTIONS: dict[str, Describe] = {
    "Slide": describe_image,
    "Tissue": describe_tissue,
    "Map": describe_map,
    "Genes": describe_genes,
    "Tables": describe_tables,
    "Clusters": describe_clusters,
    "Scores against counts": describe_scores,
    "Provenance": describe_records,
}
