"""What is in an object, and where it comes from."""

from __future__ import annotations

from typing import Any

import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._sdata.affine import finest_array
from pixnet_sd._sdata.elements import check_sdata
from pixnet_sd._sdata.maps import raster_mpp
from pixnet_sd._sdata.provenance import digest_pixels, get_record
from pixnet_sd._sdata.storage.growing import key_of, list_partial_folders
from pixnet_sd.tl._shards import list_waiting

COLUMNS = ["kind", "name", "size", "mpp", "made", "pixels"]


def info(sdata: SpatialData) -> pd.DataFrame:
    """List the elements of an object: their size, µm per pixel, and which model they were made by.

    Parameters
    ----------
    sdata
        SpatialData object.

    Returns
    -------
    One row per element: ``kind``, e.g. ``"images"``; ``size``, channels and pixels, or a count; ``mpp``, the µm per
    pixel of images; ``made``, the record of results of this package, a dict with model, unit and version; ``pixels``, a
    digest of the pixels of a map, as in ``uns["pixnet_sd"]["pixels"]`` of the tables that were aggregated from them.
    For a backed object, ``.attrs["unfinished"]`` names the maps that were begun and are not in the store, and
    ``.attrs["shards"]`` those that :func:`finish` would publish.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> ps.tl.info(ps.datasets.toy(size_px=256)).loc["he", ["kind", "size"]].tolist()
    ['images', [3, 256, 256]]
    """
    check_sdata(sdata)
    rows = [describe_element(sdata, kind, name, element) for kind, name, element in sdata.gen_elements()]
    table = pd.DataFrame(rows, columns=COLUMNS).set_index("name")
    begun = list_partial_folders(sdata) if sdata.is_backed() else []
    table.attrs["unfinished"] = [key_of(folder) for folder in begun]
    table.attrs["shards"] = [key_of(folder) for folder in list_waiting(sdata)] if begun else []
    return table


def describe_element(sdata: SpatialData, kind: str, name: str, element: Any) -> list[Any]:
    mpp = raster_mpp(sdata, name) if kind == "images" else None
    made = get_record(sdata, name)
    return [kind, name, measure_element(kind, element), mpp, made, digest_pixels(made)]


def measure_element(kind: str, element: Any) -> list[int]:
    """Return channels and pixels, rows and columns, or a count."""
    if kind in ("images", "labels"):
        return list(finest_array(element).shape)
    return list(element.shape) if kind == "tables" else [len(element)]
