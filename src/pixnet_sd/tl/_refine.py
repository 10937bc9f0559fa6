"""A predicted map, fitted to the counts of its own section."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import dask.array as da
import numpy as np
import pandas as pd
from anndata import AnnData
from spatialdata import SpatialData
from xarray import DataArray, DataTree

from pixnet_sd._errors import PixnetKeyError, PixnetValueError, warn
from pixnet_sd._fields.choice import Choice, choose_prior
from pixnet_sd._fields.factors import Evidence, Fit, fit_map
from pixnet_sd._fields.proportional import match_sums
from pixnet_sd._keys import expression_key, loadings_key, programs_key, resolve_key
from pixnet_sd._raster.grid import PixelGrid, Window
from pixnet_sd._sdata import affine, build, elements, levels, maps, provenance
from pixnet_sd._sdata.counts import asked_genes, gene_columns, read_counts
from pixnet_sd._sdata.shapes import read_shapes
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._settings import logger, settings
from pixnet_sd._zonal.aggregate import aggregate as pool
from pixnet_sd._zonal.shapes import Shapes
from pixnet_sd.tl._expand import expand
from pixnet_sd.tl._tables import check_overlap, pixel_area_um2

LEAST_SHAPES = 30
"""Fewer, and nothing can be held out that would say whether the fit helps."""
SLACK, NO_SIGNAL = 0.01, 0.02
"""Correlations: what a fit may lose by chance, and what counts of other shapes reach."""
KEPT = ("image", "unit", "mpp", "um_per_unit", "stated", "model")
"""What holds for a refined map because it holds for the map."""


@overload
def refine(
    sdata: SpatialData,
    table_key: str | None = ...,
    *,
    shapes_key: str | None = ...,
    raster_key: str | None = ...,
    layer: str | None = ...,
    genes: Sequence[str] | None = ...,
    failed: str | None = ...,
    strength: float | None = ...,
    exact: bool = ...,
    coordinate_system: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
) -> DataArray | DataTree: ...


@overload
def refine(
    sdata: SpatialData,
    table_key: str | None = ...,
    *,
    shapes_key: str | None = ...,
    raster_key: str | None = ...,
    layer: str | None = ...,
    genes: Sequence[str] | None = ...,
    failed: str | None = ...,
    strength: float | None = ...,
    exact: bool = ...,
    coordinate_system: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def refine(
    sdata: SpatialData,
    table_key: str | None = None,
    *,
    shapes_key: str | None = None,
    raster_key: str | None = None,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    failed: str | None = None,
    strength: float | None = None,
    exact: bool = False,
    coordinate_system: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
) -> DataArray | DataTree | None:
    """Fit a predicted map to counts that were measured on the same section.

    Each program of the map is multiplied by a smooth positive field, and the loadings of each gene are updated, so
    that expected counts of the measured shapes come closer to their counts. The fields are 1 far from all shapes.
    How far they reach and how much counts weigh is chosen on shapes that are held out in blocks. Genes that score no
    better there keep the map as it was, at the depth of this section.

    .. warning::
        Experimental. Its gain has been measured on one section only, and there optimistically: look at the held-out
        scores of yours before you rely on it.

    Parameters
    ----------
    sdata
        The object that holds the map, the shapes and their counts.
    table_key
        The table with raw counts; optional if there is one.
    shapes_key
        The shapes that were measured; only needed where the table annotates several elements.
    raster_key
        The map of rates, from ``tl.predict``; optional if there is one.
    layer
        The layer with raw counts; by default X.
    genes
        Genes to refine; by default all that the map and the table have. The others keep the map.
    failed
        A column of the table's ``obs`` that is True for shapes whose counts are not to be used. Shapes without counts
        are never used.
    strength
        Weight of one shape's counts against the map: 0 leaves the map as it is, 1 moves it half of the way where a
        single shape with average counts is near. By default chosen on held-out shapes.
    exact
        Make the sums over all measured shapes equal to their counts, for `genes`, which must be named. These genes are
        stored one by one, and no others.
    coordinate_system
        The coordinate system in which shapes and map lie over each other; only needed where several disagree.
    overwrite
        Replace results of the same names.
    inplace
        Add the results to the object. Otherwise the genes are returned as an image element.

    Returns
    -------
    If ``inplace=False`` the image element, else None. What is added is an ordinary map: the programs
    ``"{image}_refined_programs"``, their loadings and, unless they are too large, the genes as
    ``"{image}_refined_expression"``. ``var`` of the loadings has for each gene ``heldout_plain``,
    ``heldout_smoothed`` and ``heldout_refined``, the correlation of profiles on held-out blocks of shapes for the map,
    for the counts of neighbors alone and for the refined map, and whether it was ``refined``. They are optimistic
    where the model was trained on this section, since the map has seen the counts.

    Raises
    ------
    PixnetValueError
        If the map holds no rates, or counts are normalized or too few.

    See Also
    --------
    pixnet_sd.tl.predict : Predict the map.
    pixnet_sd.tl.aggregate : Sum the refined map over cells.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> genes = ps.tl.refine(sdata, "bins_8um_counts", raster_key="truth", genes=["EPCAM"], exact=True, inplace=False)
    >>> genes.dims
    ('c', 'y', 'x')
    """
    raster = check_refinable(maps.read_map(sdata, raster_key))
    names = f"{raster.facts.get('image', raster.key)}_refined"
    keys = programs_key(names), loadings_key(programs_key(names)), expression_key(names)
    if inplace:
        check_results(sdata, dict(zip(keys, ("images", "tables", "images"), strict=True)), overwrite=overwrite)
    chosen = asked_genes(genes)
    check_options(strength, chosen, exact=exact)
    measured = read_measurement(sdata, raster, table_key, shapes_key, layer, failed, coordinate_system)
    if chosen is not None:
        gene_columns(pd.Index(measured.genes), chosen, f"both map {raster.key!r} and table {measured.table_key!r}")
    result = refine_map(raster, measured, chosen, strength)
    if exact:
        result = make_exact(result, raster, measured, chosen or [])
    programs = make_programs(sdata, raster, result)
    facts = describe_result(programs, keys, raster, result, measured)
    table = make_loadings_table(raster, result, keys[0], facts)
    if not inplace:
        return levels.expand_genes(programs, result.as_map(raster))
    records = {keys[0]: facts, keys[1]: {"kind": "loadings", "sha256": facts["sha256"]}}
    attach(sdata, {keys[1]: table, keys[0]: programs}, records, overwrite=overwrite)
    attach_genes(sdata, keys, len(result.var), overwrite=overwrite)
    return None


@dataclass(frozen=True)
class Measurement:
    """Counts of the section, with what the map expects."""

    table_key: str
    genes: tuple[str, ...]
    """That the map and the table have."""
    shapes: Shapes
    """Those that count, in pixels of the map."""
    evidence: Evidence


@dataclass(frozen=True)
class Refined:
    """A map after it was fitted."""

    data: da.Array
    matrix: np.ndarray
    """(programs, genes)."""
    members: np.ndarray | None
    var: pd.DataFrame
    strength: float
    length_um: float

    def as_map(self, before: maps.Map) -> maps.Map:
        """Return the map with programs and loadings that were fitted."""
        loadings = maps.Loadings(self.matrix, np.zeros(len(self.var)), self.members)
        return replace(before, data=self.data, var=self.var, loadings=loadings)


def check_refinable(raster: maps.Map) -> maps.Map:
    """Check that a map adds up over shapes and has not been refined yet."""
    if raster.loadings is None or raster.unit != maps.RATE:
        found = f"holds {raster.unit or 'no known unit'} and has {'no ' if raster.loadings is None else ''}loadings"
        raise PixnetValueError(
            f"Only a map of programs in {maps.RATE} can be refined; {raster.key!r} {found}. Predict one with a "
            "model of rates."
        )
    if "refined" in raster.facts:
        raise PixnetValueError(
            f"{raster.key!r} is refined already, by {raster.facts['refined']['table']!r}. Name the map that it was "
            "made from with raster_key=..."
        )
    return raster


def check_options(strength: float | None, genes: list[str] | None, *, exact: bool) -> None:
    if exact and genes is None:
        raise PixnetValueError("exact=True stores each gene by itself; name them with genes=[...].")
    if strength is not None and not (np.isfinite(strength) and strength >= 0):
        raise PixnetValueError(f"strength must be a number from 0 on, or None to choose it; got {strength!r}.")


def read_measurement(
    sdata: SpatialData,
    raster: maps.Map,
    table_key: str | None,
    shapes_key: str | None,
    layer: str | None,
    failed: str | None,
    coordinate_system: str | None,
) -> Measurement:
    """Read the counts of all shapes that lie on the map, and pool its programs over them."""
    table = elements.find_table_key(sdata, table_key)
    regions = elements.annotated_regions(sdata.tables[table])
    key = resolve_key(f"shapes that table {table!r} annotates", shapes_key, regions, "shapes_key")
    counts = read_counts(sdata, table, key, layer=layer, genes=shared_genes(sdata, raster, table))
    grid = PixelGrid(*raster.data.shape[-2:])
    placed = read_shapes(sdata, key, raster.key, grid, coordinate_system)
    check_overlap(placed, grid, raster.key)
    shapes = placed.shapes.take(counts.rows)
    pooled = pool(raster.data, shapes).values * pixel_area_um2(raster)
    x0, y0, x1, y1 = shapes.bounds.T
    whole = (x0 >= 0) & (y0 >= 0) & (x1 <= grid.width) & (y1 <= grid.height)
    usable = whole & np.isfinite(pooled).all(axis=1) & (pooled > 0).any(axis=1)
    usable &= np.asarray(counts.matrix.sum(axis=1)).ravel() > 0
    usable &= ~read_failed(sdata, table, key, failed)
    check_enough(usable, key, raster.key)
    kept = np.flatnonzero(usable)
    evidence = Evidence(pooled[kept], counts.matrix[kept], shapes.centroid[kept])
    return Measurement(table, counts.genes, shapes.take(kept), evidence)


def shared_genes(sdata: SpatialData, raster: maps.Map, table: str) -> list[str]:
    there = set(map(str, sdata.tables[table].var_names))
    shared = [gene for gene in raster.genes if gene in there]
    if len(shared) < 2:
        raise PixnetKeyError(
            f"{len(shared)} of the {len(raster.genes)} genes of {raster.key!r}, e.g. {raster.genes[:3]}, are in table "
            f"{table!r}, e.g. {sorted(there)[:3]}; at least 2 are needed. pp.match_genes finds the names of a model."
        )
    return shared


def read_failed(sdata: SpatialData, table: str, shapes_key: str, column: str | None) -> np.ndarray:
    """Read which rows of the table are not to be used."""
    found = sdata.tables[table]
    attrs = found.uns["spatialdata_attrs"]
    obs = found.obs[(found.obs[attrs["region_key"]] == shapes_key).to_numpy()]
    if column is None:
        return np.zeros(len(obs), bool)
    resolve_key(f"columns of obs of table {table!r}", column, obs.columns, "failed")
    if not pd.api.types.is_bool_dtype(obs[column]):
        raise PixnetValueError(f"Column {column!r} of table {table!r} must be boolean; it is {obs[column].dtype}.")
    return np.asarray(obs[column], bool)


def check_enough(usable: np.ndarray, shapes_key: str, raster_key: str) -> None:
    if usable.sum() < LEAST_SHAPES:
        raise PixnetValueError(
            f"{usable.sum()} of {len(usable)} shapes of {shapes_key!r} have counts and lie whole on tissue of "
            f"{raster_key!r}; at least {LEAST_SHAPES} are needed to refine it."
        )
    if not usable.all():
        logger.info(
            "%d of %d shapes are not used: failed, without counts, or off the map", (~usable).sum(), len(usable)
        )


def refine_map(raster: maps.Map, measured: Measurement, genes: list[str] | None, strength: float | None) -> Refined:
    """Fit the map, and keep the fit for the genes that it helps."""
    assert raster.loadings is not None
    columns = gene_columns(raster.var.index, measured.genes, f"map {raster.key!r}")
    loadings, shape = raster.loadings.matrix[:, columns], (raster.data.shape[1], raster.data.shape[2])
    choice = choose_prior(measured.evidence, loadings, shape, strength)
    asked = np.ones(len(columns), bool) if genes is None else np.isin(measured.genes, genes)
    better = asked & (np.nan_to_num(choice.refined) >= np.nan_to_num(choice.plain)) & is_helpful(choice, measured)
    fit = fit_map(measured.evidence, loadings, shape, choice.prior)
    depth = measured.evidence.counts.sum() / (measured.evidence.programs.sum(axis=0) @ loadings).sum()
    plain = raster.loadings.matrix * depth
    after = np.zeros_like(plain)
    after[:, columns[better]] = fit.loadings[:, better]
    plain[:, columns[better]] = 0
    scaled = multiply_fields(raster.data, fit)
    both = [(data, matrix) for data, matrix in ((scaled, after), (raster.data, plain)) if matrix.any()]
    members = raster.loadings.members
    return Refined(
        da.concatenate([data for data, _ in both]),
        np.vstack([matrix for _, matrix in both]),
        None if members is None else np.tile(members, len(both)),
        report_genes(raster.var, columns, choice, better),
        choice.prior.strength,
        choice.prior.length_px * (raster.mpp or 1.0),
    )


def is_helpful(choice: Choice, measured: Measurement) -> bool:
    """Return whether the refined map scores better on held-out shapes, and warn where it does not."""
    plain, smoothed, refined = (float(np.nanmean(one)) for one in (choice.plain, choice.smoothed, choice.refined))
    logger.info("held-out correlation: map %.3f, neighbors' counts %.3f, refined %.3f", plain, smoothed, refined)
    if refined < max(plain - SLACK, NO_SIGNAL):
        warn(
            f"Counts of table {measured.table_key!r} do not fit the map on held-out shapes: {refined:.3f} with them "
            f"against {plain:.3f} without, so the map is kept as it is. Check that they belong to these shapes, e.g. "
            "with tl.check_alignment."
        )
    return refined > max(plain, NO_SIGNAL)


def multiply_fields(data: da.Array, fit: Fit) -> da.Array:
    """Multiply programs by their fields, block by block."""
    whole = data.rechunk({0: -1})
    return whole.map_blocks(multiply_block, fit, dtype=np.float32)


def multiply_block(block: np.ndarray, fit: Fit, block_info: dict | None = None) -> np.ndarray:
    if not block_info or not block.size:
        return block
    _, (y0, y1), (x0, x1) = block_info[0]["array-location"]
    scaled: np.ndarray = block * fit.lattice.evaluate(fit.fields, Window(y0, x0, y1, x1))
    return scaled


def report_genes(var: pd.DataFrame, columns: np.ndarray, choice: Choice, better: np.ndarray) -> pd.DataFrame:
    """Add to each gene what it scored on held-out shapes, and whether it was refined."""
    report = var.copy()
    for name in ("plain", "smoothed", "refined"):
        values = np.full(len(var), np.nan)
        values[columns] = getattr(choice, name)
        report[f"heldout_{name}"] = values
    report["refined"] = np.isin(np.arange(len(var)), columns[better])
    return report


def make_exact(result: Refined, raster: maps.Map, measured: Measurement, genes: list[str]) -> Refined:
    """Store genes one by one, with the sums that were measured."""
    some = maps.select_genes_of(result.as_map(raster), genes)
    columns = gene_columns(pd.Index(measured.genes), genes, f"table {measured.table_key!r}")
    sums = measured.evidence.counts[:, columns].toarray() / pixel_area_um2(raster)
    data, off = match_sums(some.expanded(), measured.shapes, sums)
    if off > 1e-6:
        warn(f"Sums over shapes differ from their counts by up to {off:.1e}: shapes overlap, or the map is 0 there.")
    var = some.var.assign(refined=True)
    return replace(result, data=data, matrix=np.eye(len(genes)), members=None, var=var)


def make_programs(sdata: SpatialData, raster: maps.Map, result: Refined) -> Any:
    """Make the image of programs: lazily where a store will hold it, else with its pixels."""
    names = [f"p{number}" for number in range(len(result.matrix))]
    places = build.make_transformations(
        {name: affine.to_matrix(one) for name, one in affine.get_transformations(sdata.images[raster.key]).items()}
    )
    pixels = result.data.astype(np.float32).rechunk(levels.CHUNKS)
    if sdata.is_backed():
        large = max(pixels.shape[1:]) > levels.PYRAMID_FROM_PX
        return build.make_image(pixels, names, places, pyramid=large, chunks=levels.CHUNKS)
    return levels.fill_levels(levels.blank_raster(pixels.shape, names, places), pixels.compute())


def describe_result(
    programs: Any, keys: tuple[str, str, str], raster: maps.Map, result: Refined, measured: Measurement
) -> dict[str, Any]:
    """Return the record of the programs."""
    known = {name: raster.facts[name] for name in KEPT if name in raster.facts}
    parts = (str(raster.facts.get("sha256")).encode(), result.matrix.tobytes(), measured.evidence.counts.data.tobytes())
    digest = hashlib.sha256(b"".join(parts) + str((result.strength, result.length_um)).encode()).hexdigest()
    how = {"table": measured.table_key, "from": raster.key, "strength": result.strength, "length_um": result.length_um}
    made = {"kind": "programs", **known, "sha256": digest, "expression": keys[2], "refined": how}
    return provenance.describe_raster(programs, keys[0], made)


def make_loadings_table(raster: maps.Map, result: Refined, key: str, facts: dict[str, Any]) -> AnnData:
    names = [f"p{number}" for number in range(len(result.matrix))]
    table = build.make_loadings(result.matrix, names, result.var, key)
    if result.members is not None:
        table.obs["member"] = result.members
    provenance.describe_loadings(table, facts)
    return table


def attach_genes(sdata: SpatialData, keys: tuple[str, str, str], n_genes: int, *, overwrite: bool) -> None:
    """Attach all genes over the programs, unless they are too large."""
    size = affine.finest_array(sdata.images[keys[0]]).data[0].size
    if n_genes * size * 4 <= settings.raster_limit:
        expand(sdata, raster_key=keys[0], key_added=keys[2], overwrite=overwrite)
