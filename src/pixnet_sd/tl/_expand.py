"""Genes of a stored map, as an image element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from spatialdata import SpatialData
from xarray import DataArray, DataTree

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._keys import expression_key
from pixnet_sd._sdata import levels, maps, provenance
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._sdata.storage.attach import attach_in_memory, check_results
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._settings import settings

INHERITED = ("image", "unit", "mpp", "um_per_unit", "stated", "model", "sha256")
"""What is known of genes because it is known of their programs."""


@overload
def expand(
    sdata: SpatialData,
    genes: Sequence[str] | None = ...,
    *,
    raster_key: str | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[False],
) -> DataArray | DataTree: ...


@overload
def expand(
    sdata: SpatialData,
    genes: Sequence[str] | None = ...,
    *,
    raster_key: str | None = ...,
    key_added: str | None = ...,
    overwrite: bool = ...,
    inplace: Literal[True] = ...,
) -> None: ...


def expand(
    sdata: SpatialData,
    genes: Sequence[str] | None = None,
    *,
    raster_key: str | None = None,
    key_added: str | None = None,
    overwrite: bool = False,
    inplace: bool = True,
) -> DataArray | DataTree | None:
    """Attach genes of a predicted map as an image element with gene names in ``c``.

    The element is lazy: a gene is computed from the stored programs when it is read, at every level of the pyramid.
    In a backed object it belongs to the object, not to the store; ``sdata.write_element`` stores it as plain pixels.

    Parameters
    ----------
    sdata
        The object that holds the map.
    genes
        By default all.
    raster_key
        The map; may be left out when there is one.
    key_added
        Name of the element; by default the one that `predict` gave it, ``"{image}_expression"`` if it was not told.
    overwrite
        Replace an element of that name that is not in the store.
    inplace
        Add the element to the object. Otherwise it is returned.

    Returns
    -------
    The image element if ``inplace=False``, else None.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=256)
    >>> ps.tl.expand(sdata, ["EPCAM"], raster_key="truth")
    >>> sdata.images["truth_expression"].dims
    ('c', 'y', 'x')
    """
    raster = maps.read_map(sdata, raster_key, asked_genes(genes))
    if raster.loadings is None:
        raise PixnetKeyError(f"{raster.key!r} has no loadings, so it holds its quantities already: {raster.genes[:5]}.")
    facts = raster.facts
    name = key_added or facts.get("expression") or expression_key(facts.get("image", raster.key))
    check_raster_size(raster)
    element = levels.expand_genes(sdata.images[raster.key], raster)
    known = {key: facts[key] for key in INHERITED if key in facts}
    made = {"kind": "expression", "programs": raster.key, **known}
    if not inplace:
        return provenance.attach_facts(element, provenance.describe_raster(element, name, made))
    check_name_free(sdata, name, overwrite=overwrite)
    attach_in_memory(sdata, {name: element}, {name: made})
    return None


def check_raster_size(raster: maps.Map) -> None:
    """Refuse an element too large to be made real, which a write of the object does to lazy ones."""
    needed = len(raster.genes) * raster.data[0].size * 4
    if needed > settings.raster_limit:
        raise PixnetValueError(
            f"{len(raster.genes)} genes of {raster.key!r} would take {needed:,} bytes when written, more than "
            f"settings.raster_limit ({settings.raster_limit:,}). Name some with genes=[...], or raise the limit."
        )


def check_name_free(sdata: SpatialData, name: str, *, overwrite: bool) -> None:
    """Refuse the name of an element in the store: a lazy one would hide it until the store is read again."""
    check_results(sdata, {name: "images"}, overwrite=overwrite)
    if sdata.is_backed() and (store_path(sdata) / "images" / name).exists():
        raise PixnetKeyError(
            f"{name!r} is in the store {store_path(sdata)}. Pass another key_added, or remove it first with "
            f"sdata.delete_element_from_disk({name!r})."
        )
