"""Read a raster that can be aggregated: any image element, or a map of ours with the genes behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import dask.array as da
import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError, PixnetValueError
from pixnet_sd._keys import loadings_key, resolve_key
from pixnet_sd._sdata import affine, elements, fingerprint, images, units
from pixnet_sd._sdata.counts import gene_columns
from pixnet_sd._sdata.provenance import SLOT, get_record, of_loadings
from pixnet_sd._sdata.storage import origin

RATE, LOG = "counts/um2", "log1p"
PLAIN = "plain"
"""What a caller says of a raster whose sums are sums of its values."""
SAME_SCALE = 0.001
"""Statements of µm per pixel that differ by less are the same."""


@dataclass(frozen=True)
class Loadings:
    """How the channels of a factorised map make genes: genes = channels @ matrix + intercept."""

    matrix: np.ndarray
    """(programs, genes)."""
    intercept: np.ndarray
    """(genes,); zero for rates."""
    members: np.ndarray | None = None
    """(programs,): which member of an ensemble each belongs to, where that is known."""

    def of_genes(self, columns: np.ndarray) -> Loadings:
        return replace(self, matrix=self.matrix[:, columns], intercept=self.intercept[columns])

    def with_total(self, columns: Sequence[int]) -> Loadings:
        """Select genes, and add the sum of all as one more."""
        matrix = np.column_stack([self.matrix[:, columns], self.matrix.sum(axis=1)])
        return replace(self, matrix=matrix, intercept=np.append(self.intercept[columns], self.intercept.sum()))


@dataclass(frozen=True)
class Map:
    """A raster of named quantities."""

    key: str
    """The image element that holds the pixels."""
    data: da.Array
    """(c, y, x), lazy: the quantities themselves, or programs that make them."""
    var: pd.DataFrame
    """What is known of each quantity; its index holds the names."""
    loadings: Loadings | None = None
    """None where the channels are the quantities."""
    unit: str | None = None
    """`RATE`, `LOG`, or None where it is not known."""
    mpp: float | None = None
    """µm per pixel of the raster, where it is known."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is recorded of the pixels."""
    resembles: str | None = None
    """What its channels are named after, where it looks like a map but nothing says its unit."""

    @property
    def genes(self) -> list[str]:
        return list(map(str, self.var.index))

    def expanded(self) -> da.Array:
        """Return the quantities as (c, y, x), lazy."""
        if self.loadings is None:
            return self.data
        matrix = self.loadings.matrix.astype(np.float32)
        intercept = self.loadings.intercept.astype(np.float32)
        blocks = self.data.rechunk({0: -1})
        return blocks.map_blocks(
            expand_block, matrix, intercept, dtype=np.float32, chunks=((matrix.shape[1],), *blocks.chunks[1:])
        )


def expand_block(block: np.ndarray, matrix: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    return np.tensordot(matrix, block, axes=(0, 0)) + intercept[:, None, None]


def read_map(
    sdata: SpatialData,
    key: str | None = None,
    genes: Sequence[str] | None = None,
    *,
    unit: str | None = None,
) -> Map:
    """Read the raster `key`, or the only predicted map, or the only image; some genes on request.

    Genes that were attached over programs are read as programs. `unit` takes precedence over what is recorded.
    """
    elements.check_sdata(sdata)
    name = find_map(sdata, key)
    facts = get_record(sdata, name) or {}
    check_current(sdata, name, facts)
    found = read_pixels(sdata, name, facts)
    if (behind := programs_behind(sdata, found)) is not None:
        found = behind
    found = replace(found, resembles=None if found.unit else resemblance(sdata, found))
    if unit is not None:
        found = replace(found, unit=check_unit(unit), resembles=None)
    return found if genes is None else select_genes_of(found, genes)


def check_unit(unit: str) -> str | None:
    if unit not in (RATE, LOG, PLAIN):
        raise PixnetValueError(f"unit={unit!r} is unknown; use {RATE!r}, {LOG!r}, or {PLAIN!r} for any other quantity.")
    return None if unit == PLAIN else unit


def read_pixels(sdata: SpatialData, name: str, facts: Mapping[str, Any]) -> Map:
    """Read the raster itself, with the loadings that belong to it."""
    image = images.read_image(sdata, name)
    var = pd.DataFrame(index=pd.Index(image.channels))
    found = Map(name, image.data, var, None, facts.get("unit"), mpp_now(sdata, name, facts), facts)
    table = find_loadings(sdata, name, facts)
    return found if table is None else add_loadings(found, sdata.tables[table])


def find_loadings(sdata: SpatialData, name: str, facts: Mapping[str, Any]) -> str | None:
    """Find the table of these programs by its name or its record; None if they are no programs."""
    if facts.get("kind") == "expression":
        return None
    candidates = [table for table in sdata.tables if is_named_for(table, name)]
    if facts:
        others = (table for table, held in sdata.tables.items() if of_same_map(held, facts))
        candidates = [table for table in candidates if not contradicts(sdata.tables[table], facts)] or list(others)[:1]
    else:
        candidates = [table for table in candidates if SLOT not in sdata.tables[table].uns]
    if not candidates and facts.get("kind") == "programs":
        raise_without_loadings(sdata, name)
    return candidates[0] if candidates else None


def is_named_for(table: str, name: str) -> bool:
    """Check the name, also after `spatialdata.concatenate`, which adds the same suffix to both names."""
    return any(
        table == loadings_key(name[:end]) + name[end:] for end in range(1, len(name) + 1) if name[end:][:1] in ("", "-")
    )


def of_same_map(table: AnnData, facts: Mapping[str, Any]) -> bool:
    """Written with these pixels, or by the same model."""
    known = of_loadings(table) or {}
    same_model = known.get("sha256") is not None and known.get("sha256") == facts.get("sha256")
    return same_model or ("of" in known and known["of"] == facts.get("of"))


def contradicts(table: AnnData, facts: Mapping[str, Any]) -> bool:
    """Check whether a table is of another model."""
    return len({facts.get("sha256"), table.uns.get(SLOT, {}).get("sha256")} - {None}) > 1


def raise_without_loadings(sdata: SpatialData, name: str) -> NoReturn:
    """Raise for programs or genes that lack their other half, e.g. in a copy of a part of an object."""
    table = loadings_key(name)
    if table in sdata.tables:
        raise PixnetKeyError(
            f"The programs {name!r} and the table {table!r} are of two models: the map was replaced on disk after "
            "this object was opened, or a prediction was stopped while it took the place of another. Read the store "
            "again with spatialdata.read_zarr; if that does not help, repeat the prediction, which ends it."
        )
    raise PixnetKeyError(
        f"The genes of {name!r} need the table {table!r}, which is not in the object; spatial queries leave it "
        f"out. Copy it from the whole object: part[{table!r}] = whole[{table!r}]."
    )


def check_current(sdata: SpatialData, name: str, facts: Mapping[str, Any]) -> None:
    """Check that stored pixels have not changed since they were opened, and µm per pixel not since prediction."""
    pixels = affine.finest_array(sdata.images[name])
    attributes = pixels.attrs.get(SLOT, {})
    for array in origin.stored_arrays(pixels.data):
        now = origin.facts_on_disk(array)
        known = {**facts, **attributes}
        if now is not None and (
            len({now.get("sha256"), known.get("sha256")} - {None}) > 1 or list(array.shape) != now["of"]["shape"]
        ):
            raise PixnetRuntimeError(
                f"{name!r} is read from {array.store_path}, where a map of another model or size has taken the place "
                "of the one that this object was opened with. Read the store again with spatialdata.read_zarr."
            )
    check_same_scale(sdata, name, facts)
    check_same_pixel_size(sdata, name, facts)


def check_same_pixel_size(sdata: SpatialData, name: str, facts: Mapping[str, Any]) -> None:
    """Check that the transformations give the pixels the size they were predicted at.

    A transformation that was set anew changes the unit of its coordinate system, not the tissue under a pixel.
    """
    before, now = facts.get("mpp"), mpp_now(sdata, name, facts)
    if before is None or now is None or abs(now / before - 1) <= SAME_SCALE:
        return
    raise PixnetValueError(
        f"Pixels of {name!r} were predicted at {before:.4g} µm; by its transformations they are {now:.4g} µm wide. Set "
        "the transformation back, or add the new one as another coordinate system: "
        "spatialdata.transformations.set_transformation(element, transformation, 'name')."
    )


def check_same_scale(sdata: SpatialData, name: str, facts: Mapping[str, Any]) -> None:
    """Check that µm per pixel are those at which the model saw the image."""
    used, stated, image = facts.get("um_per_unit"), facts.get("stated"), facts.get("image")
    if used is None or stated is None or image is None or image not in sdata.images:
        return
    for system, now in units.um_per_unit(sdata, image).items():
        before = [known[system] for known in (used, stated) if system in known]
        if system in used and all(abs(now / one - 1) > SAME_SCALE for one in before):
            scale = affine.pixel_scales(sdata.images[image])[system]
            raise PixnetValueError(
                f"{name!r} was predicted at {used[system] * scale:.4g} µm per pixel of {image!r}, which is now said to "
                f"have {now * scale:.4g}. Predict again with overwrite=True, or state {used[system] * scale:.4g} with "
                "pp.mpp."
            )


def programs_behind(sdata: SpatialData, genes: Map) -> Map | None:
    """Find the programs that genes were attached over, if they give these very pixels."""
    linked = genes.facts.get("programs")
    if linked is None:
        return None
    for name in sdata.images:
        if name == linked or name.startswith(f"{linked}-"):
            facts = get_record(sdata, name) or {}
            if facts.get("kind") == "programs" and facts.get("sha256") == genes.facts.get("sha256"):
                found = select_genes_of(read_pixels(sdata, name, facts), genes.genes)
                if same_place(sdata, genes.key, name) and same_pixels(genes.data, found):
                    return found
    return None


def same_place(sdata: SpatialData, one: str, other: str) -> bool:
    """Check whether pixels of two elements are at the same places."""
    places = [
        {system: affine.to_matrix(onwards) for system, onwards in affine.get_transformations(sdata[key]).items()}
        for key in (one, other)
    ]
    return places[0].keys() == places[1].keys() and all(
        np.allclose(places[0][system], places[1][system], rtol=1e-9) for system in places[0]
    )


def same_pixels(genes: da.Array, programs: Map) -> bool:
    if genes.shape[1:] != programs.data.shape[1:]:
        return False
    at = fingerprint.sample(programs.data)["at"]
    first = select_genes_of(programs, programs.genes[: fingerprint.SAMPLED_CHANNELS])
    return fingerprint.same_values(
        fingerprint.read_patch(genes, at).ravel(), fingerprint.read_patch(first.expanded(), at).ravel()
    )


def resemblance(sdata: SpatialData, found: Map) -> str | None:
    """Describe what a raster without a unit looks like: programs, or genes of one of our maps."""
    if found.loadings is None and found.genes == [f"p{number}" for number in range(len(found.genes))]:
        return "programs of a map, and no loadings belong to it"
    if not found.facts and SLOT in affine.finest_array(sdata.images[found.key]).attrs:
        return "those of an image that was a map before its pixels or names were changed"
    for key, table in sdata.tables.items():
        if is_of_ours(key, table) and set(found.genes) <= set(map(str, table.var_names)):
            return f"genes of the map with the loadings {key!r}"
    return None


def is_of_ours(key: str, table: AnnData) -> bool:
    """Check whether a table holds loadings of a model; those of the first release do not say so themselves."""
    known = table.uns.get(SLOT, {})
    return known.get("kind") == "loadings" or (SLOT in table.uns and "kind" not in known and loadings_key("") in key)


def find_map(sdata: SpatialData, key: str | None) -> str:
    """Predicted maps come first: with one of them, the H&E image beside it is not a candidate."""
    predicted = [] if key is not None else [name for name in sdata.images if is_predicted(sdata, name)]
    candidates = list(predicted or sdata.images)
    if key is None and len(candidates) == 1 and images.is_color(sdata, candidates[0]):
        raise PixnetKeyError(
            f"No map has been predicted: the only image, {candidates[0]!r}, is a color image. Run tl.predict, or name "
            "an image with raster_key=..."
        )
    return resolve_key("images", key, candidates, "raster_key")


def is_predicted(sdata: SpatialData, name: str) -> bool:
    return (get_record(sdata, name) or {}).get("kind") == "programs"


def raster_mpp(sdata: SpatialData, key: str) -> float | None:
    return mpp_now(sdata, key, get_record(sdata, key) or {})


def mpp_now(sdata: SpatialData, key: str, facts: Mapping[str, Any]) -> float | None:
    """Compute µm per pixel by the transformations at hand; None if nothing states it."""
    if (um_per_unit := facts.get("um_per_unit")) is not None:
        scales = affine.pixel_scales(sdata.images[key])
        if (known := units.um_per_px(scales, um_per_unit, key)) is not None:
            return known
    elif (before := facts.get("mpp")) is not None and not in_um(sdata, key):
        return float(before)
    try:
        return units.image_mpp(sdata, key)
    except PixnetValueError:
        return None


def in_um(sdata: SpatialData, key: str) -> bool:
    return any(units.is_micrometre(name) for name in affine.get_transformations(sdata.images[key]))


def add_loadings(found: Map, table: AnnData) -> Map:
    matrix, var = np.asarray(table.X, dtype=float), table.var
    if len(matrix) != found.data.shape[0]:
        raise PixnetValueError(
            f"The loadings of {found.key!r} have {len(matrix)} programs, the raster has {found.data.shape[0]}. "
            "They were not written together; predict again with overwrite=True."
        )
    intercept = var["intercept"].to_numpy(dtype=float) if "intercept" in var else np.zeros(len(var))
    members = table.obs["member"].to_numpy() if "member" in table.obs else None
    return replace(found, var=var, loadings=Loadings(matrix, intercept, members))


def select_genes_of(found: Map, genes: Sequence[str]) -> Map:
    if not len(genes):
        raise PixnetValueError(f"genes=[] names no gene of {found.key!r}. Name some, or leave it out for all.")
    columns = gene_columns(found.var.index, genes, f"map {found.key!r}")
    var = found.var.iloc[columns]
    if found.loadings is None:
        return replace(found, data=found.data[columns], var=var)
    return replace(found, var=var, loadings=found.loadings.of_genes(columns))
