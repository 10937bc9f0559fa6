"""Find elements of a SpatialData object by key."""

from __future__ import annotations

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError
from pixnet_sd._keys import loadings_key, resolve_key
from pixnet_sd._sdata.provenance import SLOT, get_record
from pixnet_sd._sdata.storage.origin import check_reachable


def find_image_key(sdata: SpatialData, key: str | None = None) -> str:
    """Find the image to read. Without a key, results of this package are no candidates."""
    check_sdata(sdata)
    candidates = sdata.images if key is not None else [name for name in sdata.images if not get_record(sdata, name)]
    return resolve_key("images", key, candidates, "image_key")


def find_shapes_key(sdata: SpatialData, key: str | None = None) -> str:
    check_sdata(sdata)
    return resolve_key("shapes", key, sdata.shapes, "shapes_key")


def find_table_key(sdata: SpatialData, key: str | None = None) -> str:
    """Find the measured table to read. Without a key, results and loadings are no candidates."""
    check_sdata(sdata)
    return resolve_key("tables", key, sdata.tables if key is not None else measured_tables(sdata), "table_key")


def measured_tables(sdata: SpatialData) -> list[str]:
    """List all tables but our results and loadings, which say so also if the object's records are lost."""
    derived = {loadings_key(name) for name in sdata.images}
    ours = {name for name, table in sdata.tables.items() if get_record(sdata, name) or SLOT in table.uns}
    return [name for name in sdata.tables if name not in derived | ours]


def element_names(sdata: SpatialData) -> set[str]:
    """List every element's name; SpatialData allows a name once over all kinds."""
    return {name for _, name, _ in sdata.gen_elements()}


def check_sdata(sdata: object) -> None:
    if not isinstance(sdata, SpatialData):
        raise PixnetTypeError(
            f"The first argument must be a SpatialData object; got {type(sdata).__name__}. "
            "Read one with spatialdata.read_zarr, or try pixnet_sd.datasets.toy()."
        )
    check_reachable(sdata)
