"""Say what is in a slide: its elements, um per pixel, and what this package made of it, by which model."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from pixnet_sd._errors import one_line
from pixnet_sd.cli import _slides

if TYPE_CHECKING:
    from pixnet_sd._sdata.elements import SpatialData

HELP = "what is in a slide, and where it comes from"
EXAMPLES = """\
examples:
  pixnet-sd info a.zarr
  pixnet-sd info a.zarr --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)


def run(asked: argparse.Namespace) -> int:
    from pixnet_sd._sdata.elements import open_slide

    for path in asked.slides:
        sdata = open_slide(path)
        found = {"slide": path, "elements": list_elements(sdata), "unfinished": list_unfinished(sdata)}
        print(json.dumps(found) if asked.json else format_element(found))
    return 0


def list_elements(sdata: SpatialData) -> list[dict[str, Any]]:
    from pixnet_sd._sdata.provenance import get_record

    return [
        {"kind": kind, "name": name, "size": describe_size(kind, element), "mpp": describe_mpp(sdata, kind, name)}
        | {"made": get_record(sdata, name)}
        for kind, name, element in sdata.gen_elements()
    ]


def describe_size(kind: str, element: Any) -> list[int]:
    """Channels and pixels, rows and columns, or a count."""
    from pixnet_sd._sdata.affine import finest_array

    if kind in ("images", "labels"):
        return list(finest_array(element).shape)
    return list(element.shape) if kind == "tables" else [len(element)]


def describe_mpp(sdata: SpatialData, kind: str, name: str) -> float | None:
    from pixnet_sd._sdata.maps import raster_mpp

    return raster_mpp(sdata, name) if kind == "images" else None


def list_unfinished(sdata: SpatialData) -> list[str]:
    """Folders of predictions that have begun and are not in the store."""
    from pixnet_sd._sdata.storage.growing import list_partial_folders

    return [folder.name for folder in list_partial_folders(sdata)]


def format_element(found: dict[str, Any]) -> str:
    rows = [f"  {describe_element(one)}" for one in found["elements"]]
    rows += [f"  unfinished: {name}" for name in found["unfinished"]]
    return "\n".join(map(one_line, [found["slide"], *rows]))


def describe_element(one: dict[str, Any]) -> str:
    resolution = {"images": "um/px unknown" if one["mpp"] is None else f"{one['mpp']:.4g} um/px"}.get(one["kind"], "")
    told = [" x ".join(map(str, one["size"])), resolution, describe_origin(one["made"] or {})]
    return f"{one['kind']:<7} {one['name']:<28} {', '.join(filter(None, told))}"


def describe_origin(made: dict[str, Any]) -> str:
    if not made:
        return ""
    by = f" by {made['model']!r} ({made['sha256'][:8]})" if "model" in made else ""
    return f"{made['kind']}{by} with pixnet-sd {made['version']}"
