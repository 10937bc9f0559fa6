"""Pool a map of a store over its shapes, and say which maps there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixnet_sd._errors import PixnetKeyError

if TYPE_CHECKING:
    from pixnet_sd._sdata.elements import SpatialData


def maps_of(sdata: SpatialData) -> list[str]:
    """Predicted maps of a store."""
    from pixnet_sd._sdata.provenance import get_record

    return [name for name in sdata.images if (get_record(sdata, name) or {}).get("kind") == "programs"]


def to_pool(
    sdata: SpatialData, shapes_keys: Sequence[str], map_key: str, *, remade: bool, overwrite: bool
) -> list[str]:
    """Shapes that need a table from this map, told before the work begins; `remade`: the map will be made by it."""
    from pixnet_sd._keys import expression_key
    from pixnet_sd._sdata import elements
    from pixnet_sd._sdata.provenance import digest_pixels, get_record
    from pixnet_sd._sdata.storage import places

    pixels = None if remade else digest_pixels(get_record(sdata, map_key))
    keys = dict.fromkeys(elements.find_shapes_key(sdata, key) for key in shapes_keys)
    places.require_places(sdata, {expression_key(key): "tables" for key in keys}, overwrite=True)
    return [key for key in keys if overwrite or needs_table(sdata, key, map_key, pixels)]


def needs_table(sdata: SpatialData, shapes_key: str, map_key: str, pixels: str | None) -> bool:
    """Whether there is none, or one from what this map was before; any other table is not to be replaced."""
    from pixnet_sd._keys import expression_key

    name = expression_key(shapes_key)
    if name not in sdata.tables:
        return True
    made = sdata.tables[name].uns.get("pixnet_sd") or {}
    if made.get("raster") != map_key:
        source = f"was made from {made['raster']!r}" if "raster" in made else "was not made from a map by pixnet-sd"
        raise PixnetKeyError(
            f"--shapes {shapes_key} would replace the table {name!r}, which {source}, by one from {map_key!r}. Add "
            f"--overwrite to replace it, or leave --shapes {shapes_key} out and give the new one another name: "
            f"pixnet-sd aggregate --shapes {shapes_key} --image {map_key} --table NAME."
        )
    return pixels is None or made.get("pixels") != pixels


def pool_tables(sdata: SpatialData, shapes_keys: Sequence[str], map_key: str) -> list[str]:
    """Tables for what `to_pool` gave, in place of those it saw; their names."""
    from pixnet_sd._keys import expression_key
    from pixnet_sd.cli._slides import shows_bars
    from pixnet_sd.tl._aggregate import aggregate

    names = {key: expression_key(key) for key in shapes_keys}
    for key, name in names.items():
        aggregate(sdata, key, raster_key=map_key, overwrite=name in sdata.tables, progress=shows_bars())
    return list(names.values())
