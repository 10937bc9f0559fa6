"""Pool a map of a store over its shapes, and say which maps there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixnet_sd._sdata.opening import SpatialData


def maps_of(sdata: SpatialData) -> list[str]:
    """Predicted maps of a store."""
    from pixnet_sd._sdata.provenance import recorded

    return [name for name in sdata.images if (recorded(sdata, name) or {}).get("kind") == "programmes"]


def pool(sdata: SpatialData, shapes_keys: Sequence[str], map_key: str | None, *, overwrite: bool) -> list[str]:
    """Tables for shapes that have none yet; their names."""
    from pixnet_sd._keys import expression_key
    from pixnet_sd.cli._slides import shows_bars
    from pixnet_sd.tl._aggregate import aggregate

    wanted = [key for key in shapes_keys if overwrite or expression_key(key) not in sdata.tables]
    for key in wanted:
        aggregate(sdata, key, image_key=map_key, overwrite=overwrite, progress=shows_bars())
    return [expression_key(key) for key in wanted]
