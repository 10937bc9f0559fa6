"""From an image to tables for shapes; no raster is kept, on disk or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import dask.array as da
import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import expression_key
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import elements, maps
from pixnet_sd._sdata.labels import read_regions
from pixnet_sd._sdata.shapes import PlacedShapes
from pixnet_sd._sdata.storage.attach import attach, check_results
from pixnet_sd._zonal.aggregate import Accumulator
from pixnet_sd.nn.inference.predict import check_machine
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction.diagnostics import (
    measure_outliers,
    report_cut_edges,
    report_seam,
    report_tiles,
    warn_if_unfamiliar,
)
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.plan import PredictionPlan, make_plan
from pixnet_sd.tl._prediction.windows import fit_tiles
from pixnet_sd.tl._tables import (
    LINEAR,
    check_overlap,
    check_statistic,
    check_uncertainty,
    table_facts,
    to_quantities,
    to_table,
)


@dataclass(frozen=True)
class TableTarget:
    """One table to be made."""

    placed: PlacedShapes
    pooling: Accumulator


@overload
def predict_shapes(
    sdata: SpatialData,
    shapes_key: str | Sequence[str] | None = ...,
    *,
    model: Model | str | Path | None = ...,
    image_key: str | None = ...,
    statistic: str | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    coordinate_system: str | None = ...,
    uncertainty: bool = ...,
    key_added: str | Mapping[str, str] | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[True] = ...,
    progress: bool | None = ...,
) -> None: ...
@overload
def predict_shapes(
    sdata: SpatialData,
    shapes_key: str | None = ...,
    *,
    model: Model | str | Path | None = ...,
    image_key: str | None = ...,
    statistic: str | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    coordinate_system: str | None = ...,
    uncertainty: bool = ...,
    key_added: str | Mapping[str, str] | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> AnnData: ...
@overload
def predict_shapes(
    sdata: SpatialData,
    shapes_key: Sequence[str],
    *,
    model: Model | str | Path | None = ...,
    image_key: str | None = ...,
    statistic: str | None = ...,
    genes: Sequence[str] | None = ...,
    mpp: float | None = ...,
    tissue_key: str | None = ...,
    coordinate_system: str | None = ...,
    uncertainty: bool = ...,
    key_added: str | Mapping[str, str] | None = ...,
    value_range: tuple[float, float] | None = ...,
    allow_upsample: bool = ...,
    overwrite: bool = ...,
    device: str | None = ...,
    batch_size: int | None = ...,
    tile_size: int | None = ...,
    augment: bool = ...,
    compile: bool = ...,
    backend: str | None = ...,
    inplace: Literal[False],
    progress: bool | None = ...,
) -> dict[str, AnnData]: ...
def predict_shapes(
    sdata: SpatialData,
    shapes_key: str | Sequence[str] | None = None,
    *,
    model: Model | str | Path | None = None,
    image_key: str | None = None,
    statistic: str | None = None,
    genes: Sequence[str] | None = None,
    mpp: float | None = None,
    tissue_key: str | None = "auto",
    coordinate_system: str | None = None,
    uncertainty: bool = False,
    key_added: str | Mapping[str, str] | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
    tile_size: int | None = None,
    augment: bool = False,
    compile: bool = False,
    backend: str | None = None,
    inplace: bool = True,
    progress: bool | None = None,
) -> AnnData | dict[str, AnnData] | None:
    """Predict gene expression of shapes straight from the image.

    The same as `predict` followed by `aggregate`, but the map is pooled while it is made and never stored: a million
    cells on a whole slide need megabytes. Only tiles that meet a shape and tissue are computed, each once, whatever the
    number of shapes elements.

    Parameters
    ----------
    sdata
        The object that holds image and shapes.
    shapes_key
        Polygons, circles or labels, one element or several; may be left out when there is one.
    model
        A ``ps.Model``, or the name or folder of one; by default the bundled one.
    image_key
        The H&E image; may be left out when there is one.
    statistic
        ``"sum"``, the default for models of rates, which gives expected counts; or ``"mean"``, the default for models
        of log expression.
    genes
        Genes to put into the tables; by default all.
    mpp
        µm per pixel of the image, where the object does not say it; where it does, this counts, and more than 5 %
        between the two give a warning.
    tissue_key
        Labels that mark tissue; found by default and `None` for the whole image, as in :func:`predict`. What is off the
        tissue counts as not covered.
    coordinate_system
        The coordinate system in which shapes and image lie over each other; only needed where several disagree.
    uncertainty
        Add ``layers["sd"]``: the standard deviation of what the members of an ensemble predict.
    key_added
        Name of the table, ``"{shapes}_expression"`` by default; for several shapes elements, a mapping of names.
    value_range
        Black and white of an image that is not uint8, e.g. ``(0, 65535)``.
    allow_upsample
        Interpolate an image that is coarser than what the model was trained on.
    overwrite
        Replace tables of that name.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; by default the fastest there is.
    batch_size
        Tiles at once.
    tile_size
        Side in pixels of what a tile keeps. By default that of :func:`predict` or a part of it, whichever needs the
        fewest pixels for the shapes; the log has the counts.
    augment
        Average over the eight turned and mirrored views of each tile, at eight times the cost.
    compile
        Let torch compile the network first. That takes minutes and a C++ compiler; tiles then take about 0.6 of the
        time, so it pays on large slides.
    backend
        ``"torch"``, ``"openvino"``, or ``"auto"``: OpenVINO on a CPU where it is installed (``pixnet-sd[fast]``), which
        takes less than half of torch's time. By default ``ps.settings.backend``, which is ``"auto"``.
    inplace
        Add the tables to the object. Otherwise they are returned.
    progress
        Show a progress bar; by default ``ps.settings.progress``.

    Returns
    -------
    If ``inplace=False`` the table, or for a list of shapes elements a dict of tables; else None. They are as
    `aggregate` makes them.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.predict_shapes(sdata, ["cells", "bins_8um"], model="my_model")  # doctest: +SKIP
    >>> sdata.tables["cells_expression"]  # doctest: +SKIP
    """
    options = PredictOptions.of(locals())
    keys = [elements.find_regions_key(sdata, key) for key in list_shapes_keys(shapes_key)]
    names = table_names(keys, key_added)
    if inplace:
        check_results(sdata, dict.fromkeys(names.values(), "tables"), overwrite=overwrite)
    plan = make_plan(sdata, model, options)
    check_machine(plan.how)
    # The map as `predict` would store it; its pixels are never computed.
    raster = plan.as_map(plan.image_key, da.empty(plan.shape, chunks=-1, dtype=np.float32), options.genes)
    statistic = check_linear(check_statistic(statistic, raster))
    if uncertainty:
        check_uncertainty(raster, statistic)
    targets = [place_target(sdata, key, plan, statistic, coordinate_system) for key in keys]
    if options.tile_size is None:
        plan = fit_tiles(plan, [one.placed.shapes.bounds for one in targets])
    report_tiles(plan)
    warn_if_unfamiliar(plan, measure_outliers(plan))
    report_cut_edges(plan)
    report_seam(plan)
    pool_blocks(plan, targets, progress)
    tables = {names[one.placed.key]: make_table(one, raster, statistic, plan, uncertainty) for one in targets}
    if not inplace:
        return tables if not (shapes_key is None or isinstance(shapes_key, str)) else next(iter(tables.values()))
    facts = {name: {"kind": "table", **table.uns["pixnet_sd"]} for name, table in tables.items()}
    attach(sdata, tables, facts, overwrite=overwrite)
    return None


def list_shapes_keys(shapes_key: str | Sequence[str] | None) -> list[str | None]:
    listed: list[str | None] = [shapes_key] if shapes_key is None or isinstance(shapes_key, str) else [*shapes_key]
    if not listed or len(set(listed)) < len(listed):
        raise PixnetValueError(f"shapes_key must name one or more different shapes elements; got {listed}.")
    return listed


def table_names(keys: Sequence[str], key_added: str | Mapping[str, str] | None) -> dict[str, str]:
    if isinstance(key_added, str):
        if len(keys) > 1:
            raise PixnetValueError(
                f"key_added={key_added!r} is one name for {len(keys)} tables. "
                "Pass a mapping from shapes to names, or nothing."
            )
        return {keys[0]: key_added}
    names = {key: (key_added or {}).get(key, expression_key(key)) for key in keys}
    if len(set(names.values())) < len(names):
        raise PixnetValueError(f"Each of the tables needs a name of its own; key_added gives {names}.")
    return names


def check_linear(statistic: str) -> str:
    if statistic not in LINEAR:
        raise PixnetValueError(
            f"statistic={statistic!r} needs the map of every gene; while predicting, only {' and '.join(LINEAR)} can "
            "be pooled. Use tl.predict, then tl.aggregate."
        )
    return statistic


def place_target(
    sdata: SpatialData, key: str, plan: PredictionPlan, statistic: str, coordinate_system: str | None
) -> TableTarget:
    placed = read_regions(sdata, key, plan.image_key, plan.grid, coordinate_system)
    check_overlap(placed, plan.grid, plan.image_key)
    return TableTarget(placed, Accumulator(placed.shapes, plan.shape[0], statistic))


def pool_blocks(plan: PredictionPlan, targets: Sequence[TableTarget], progress: bool | None) -> None:
    """Compute the tiles that meet a shape, and add each to all tables."""
    met = [number for number, window in plan.windows.items() if any(meets(one, window) for one in targets)]
    for window, block in plan.blocks(met, progress=progress):
        for one in targets:
            one.pooling.add(window, block)


def meets(one: TableTarget, window: Window) -> bool:
    return one.pooling.finder.meeting(window).size > 0


def make_table(one: TableTarget, raster: maps.Map, statistic: str, plan: PredictionPlan, uncertainty: bool) -> AnnData:
    pooled = one.pooling.result()
    values = to_quantities(pooled.values, raster, statistic, factorised=True)
    facts = {**table_facts(raster, one.placed.key, statistic, 0.5), **made_by(plan)}
    facts["unit"] = "counts" if raster.unit == maps.RATE and statistic == "sum" else raster.unit
    return to_table(values, pooled, raster, one.placed, facts, uncertainty)


def made_by(plan: PredictionPlan) -> dict[str, Any]:
    """Return what the programs depend on, for the table's provenance."""
    return {name: value for name, value in plan.facts.items() if name not in ("kind", "tissue_digest")}
