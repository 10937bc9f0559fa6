"""Say what is in a slide: its elements, um per pixel, and what this package made of it, by which model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pixnet_sd._errors import one_line
from pixnet_sd.cli import _slides

HELP = "what is in a slide, and where it comes from"
EXAMPLES = """\
examples:
  pixnet-sd info a.zarr
  pixnet-sd info a.zarr --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _slides.add_slides(parser)


def run(asked: argparse.Namespace) -> int:
    import pixnet_sd as ps

    for path in asked.slides:
        info = ps.tl.info(_slides.open_slide(path))
        known = info.drop(columns="pixels").rename_axis("name").reset_index().astype(object)
        elements = known.where(known.notna(), None).to_dict("records")
        found = {"slide": path, "elements": elements, "unfinished": info.attrs["unfinished"]}
        print(json.dumps(found) if asked.json else format_element(found))
    return 0


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
