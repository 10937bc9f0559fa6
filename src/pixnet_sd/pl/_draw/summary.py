"""What a report says of a slide, read from its elements and their records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._keys import tissue_key
from pixnet_sd._metrics.scores import column_blocks, log_profile, score_genes
from pixnet_sd._sdata import affine, comparison, images, units
from pixnet_sd._sdata.comparison import read_pair
from pixnet_sd._sdata.elements import annotated_regions
from pixnet_sd._sdata.provenance import SLOT, get_record

MOST_CATEGORIES = 40


@dataclass(frozen=True)
class Scale:
    """Size of an image's pixels."""

    mpp: float | None
    source: str


@dataclass(frozen=True)
class Annotation:
    """A table, and the shapes that it annotates."""

    table_key: str
    shapes_key: str


def read_scale(sdata: SpatialData, image_key: str) -> Scale:
    stated = units.stated_mpp(sdata, image_key)
    source, mpp = next(iter(stated.items()), ("unknown: run pp.mpp", None))
    return Scale(mpp, source)


def find_maps(sdata: SpatialData, image_key: str) -> list[str]:
    """List the programs that were predicted from an image."""
    return [
        name
        for name in sdata.images
        if (made := get_record(sdata, name) or {}).get("kind") == "programs" and made.get("image") == image_key
    ]


def measure_tissue(sdata: SpatialData, image_key: str, mpp: float | None) -> dict[str, float] | None:
    """Measure the share of the image that is marked as tissue, and its area; None where it is not marked."""
    key = tissue_key(image_key)
    if key not in sdata.labels:
        return None
    marked = int((affine.finest_array(sdata.labels[key]).data > 0).sum())
    pixel = affine.area_scale(affine.matrix_between(sdata, key, image_key)) ** 2
    grid = images.read_image(sdata, image_key).grid
    facts = {"share": marked * pixel / (grid.height * grid.width)}
    return facts if mpp is None else {**facts, "mm2": marked * pixel * mpp**2 / 1e6}


def find_quality(sdata: SpatialData, image_key: str) -> str | None:
    """Find the labels of quality of an image; the table beside them has the tiles."""
    for name in sdata.labels:
        made = get_record(sdata, name) or {}
        if made.get("kind") == "quality" and made.get("image") == image_key and f"{name}_tiles" in sdata.tables:
            return str(name)
    return None


def share_artifacts(tiles: pd.DataFrame) -> dict[str, float]:
    """Compute the share of the tissue with each artifact, and with none."""
    weights = tiles.groupby("artifact", observed=False)["tissue"].sum()
    return {str(name): float(share) for name, share in (weights / weights.sum()).items()}


def rank_genes(var: pd.DataFrame) -> pd.DataFrame:
    """Order genes by their held-out score, where the model has scores."""
    return var.sort_values("score", ascending=False, kind="stable") if "score" in var else var


def list_annotations(sdata: SpatialData) -> list[Annotation]:
    return [
        Annotation(str(table), region)
        for table, held in sdata.tables.items()
        for region in annotated_regions(held)
        if region in sdata.shapes
    ]


def is_predicted(sdata: SpatialData, table_key: str) -> bool:
    return "unit" in (sdata.tables[table_key].uns.get(SLOT) or {})


def list_clusters(sdata: SpatialData) -> Iterator[tuple[Annotation, str]]:
    """Yield columns of tables with a few categories, such as clusters."""
    for found in list_annotations(sdata):
        for name, column in sdata.tables[found.table_key].obs.items():
            if name != "region" and has_few_categories(column):
                yield found, str(name)


def has_few_categories(column: pd.Series) -> bool:
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return categorical and 2 <= len(column.cat.categories) <= MOST_CATEGORIES


def list_pairs(sdata: SpatialData) -> Iterator[tuple[str, str]]:
    """Yield predicted tables, each with a measured one of the same shapes."""
    tables = [(one, is_predicted(sdata, one.table_key)) for one in list_annotations(sdata)]
    measured = [one for one, predicted in tables if not predicted]
    for one in [one for one, predicted in tables if predicted]:
        yield from ((one.table_key, other.table_key) for other in measured if other.shapes_key == one.shapes_key)


def score_pair(sdata: SpatialData, predicted_key: str, measured_key: str) -> pd.DataFrame:
    """Score each gene of both tables, as `tl.evaluate` does."""
    pair = read_pair(sdata, predicted_key, measured_key)
    unit = comparison.unit_of(sdata.tables[predicted_key], predicted_key, None)
    kept = pair.of_shapes(np.logical_and(*comparison.have_profiles(pair, unit)))
    totals, values, own = comparison.on_one_scale(kept, unit)
    counts, tables = kept.counts.tocsc(), []
    for block in column_blocks(len(totals), len(kept.genes)):
        predicted = values[:, block] if own is None else log_profile(values[:, block], own)
        tables.append(score_genes(predicted, log_profile(counts[:, block].toarray(), totals)))
    scores = pd.concat(tables).set_index(pd.Index(kept.genes, name="gene"))
    scores.attrs["n_shapes"] = len(totals)
    return scores


def read_records(sdata: SpatialData) -> dict[str, Any]:
    """Read the records of all results of this package."""
    found = {name: get_record(sdata, name) for _, name, _ in sdata.gen_elements()}
    return {name: made for name, made in found.items() if made}
