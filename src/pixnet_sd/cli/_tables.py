"""Aggregate a map of a store over its shapes, unless a table of the same pixels is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixnet_sd._errors import PixnetKeyError
from pixnet_sd.cli._slides import shows_bars

if TYPE_CHECKING:
    import pandas as pd
    from spatialdata import SpatialData


def find_maps(info: pd.DataFrame) -> list[str]:
    """Find the predicted maps of a store."""
    return [name for name, made in info["made"].items() if made and made.get("kind") == "programs"]


def check_tables(sdata: SpatialData, shapes_keys: Sequence[str], map_key: str | None, *, overwrite: bool) -> None:
    """Check before the work begins that no table of anything but this map would be replaced."""
    for key in shapes_keys:
        if key not in sdata.shapes:
            raise PixnetKeyError(f"{key!r} is not among the shapes: {', '.join(map(repr, sdata.shapes)) or 'none'}.")
        name = table_name(key)
        if name not in sdata.tables or overwrite or map_key is None:
            continue
        made = sdata.tables[name].uns.get("pixnet_sd") or {}
        if made.get("raster") != map_key:
            source = f"was made from {made['raster']!r}" if "raster" in made else "was not made from a map by pixnet-sd"
            raise PixnetKeyError(
                f"--shapes {key} would replace the table {name!r}, which {source}, by one from {map_key!r}. Add "
                f"--overwrite to replace it, or leave --shapes {key} out and give the new one another name: "
                f"pixnet-sd aggregate --shapes {key} --raster {map_key} --table NAME."
            )


def write_tables(sdata: SpatialData, shapes_keys: Sequence[str], map_key: str, *, overwrite: bool) -> list[str]:
    """Aggregate the map over these shapes, but for tables of its present pixels; return the tables' names."""
    import pixnet_sd as ps

    pixels, written = ps.tl.info(sdata).loc[map_key, "pixels"], []
    for key in dict.fromkeys(shapes_keys):
        name = table_name(key)
        there = name in sdata.tables
        if overwrite or not there or sdata.tables[name].uns["pixnet_sd"].get("pixels") != pixels:
            ps.tl.aggregate(sdata, key, raster_key=map_key, overwrite=there, progress=shows_bars())
            written.append(name)
    return written


def table_name(shapes_key: str) -> str:
    return f"{shapes_key}_expression"
