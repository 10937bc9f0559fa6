"""µm per pixel from TIFF metadata: OME-XML, Aperio's description, resolution tags. Imports tifffile only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile

from pixnet_sd._errors import PixnetValueError

UM_PER_UNIT = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25_400.0}
"""Units of OME-XML. The micro sign has two code points; other units, such as "pixel", are not lengths."""
UM_PER_TAG_UNIT = {2: 25_400.0, 3: 1e4, 4: 1e3, 5: 1.0}
"""Values of the tag ResolutionUnit: inch, cm, mm, µm; 1 is no unit."""
SQUARE = 0.05
"""Largest relative difference between the sides of a pixel."""


def read_resolutions(tiff: tifffile.TiffFile, series: int) -> dict[str, float]:
    """Return all values that the file states for one of its images, the most reliable first."""
    return {source: square_side(source, *sides) for source, sides in iterate_statements(tiff, series)}


def iterate_statements(tiff: tifffile.TiffFile, series: int) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each source and the sides (x, y) of a pixel in µm."""
    page: Any = tiff.series[series].pages[0]
    if tiff.ome_metadata and (sides := from_ome(tifffile.xml2dict(tiff.ome_metadata), series)):
        yield "the file's OME-XML", sides
    aperio = page.description.startswith("Aperio ")  # tifffile's `is_svs` also requires tiles
    if aperio and (mpp := tifffile.tifffile.svs_description_metadata(page.description).get("MPP")):
        yield "the file's Aperio description", (float(mpp), float(mpp))
    if sides := from_tags(page):
        yield "the file's resolution tags", sides


def from_ome(metadata: dict[str, Any], series: int) -> tuple[float, float] | None:
    images = metadata["OME"].get("Image", [])
    images = images if isinstance(images, list) else [images]
    pixels = images[min(series, len(images) - 1)]["Pixels"] if images else {}
    sides = [length_um(pixels, f"PhysicalSize{axis}") for axis in "XY"]
    return None if None in sides else (sides[0], sides[1])  # type: ignore[return-value]


def length_um(pixels: dict[str, Any], name: str) -> float | None:
    factor = UM_PER_UNIT.get(pixels.get(f"{name}Unit", "µm"))
    return float(pixels[name]) * factor if name in pixels and factor else None


def from_tags(page: Any) -> tuple[float, float] | None:
    """Read the resolution tags; those of 1 pixel, or of no unit, are ignored as placeholders."""
    tags = [page.tags.get(name) for name in ("ResolutionUnit", "XResolution", "YResolution")]
    if any(tag is None for tag in tags):
        return None
    unit, *per_unit = [tag.value for tag in tags]
    rates = [numerator / denominator if denominator else 0.0 for numerator, denominator in per_unit]
    # Writers without a resolution often store 1 pixel per unit; 72 per inch is caught by the range of believable mpp.
    if int(unit) not in UM_PER_TAG_UNIT or min(rates) <= 1:
        return None
    return UM_PER_TAG_UNIT[int(unit)] / rates[0], UM_PER_TAG_UNIT[int(unit)] / rates[1]


def square_side(source: str, x_um: float, y_um: float) -> float:
    """Return the side of a pixel; raise if pixels are not square."""
    if not abs(np.log(x_um / y_um)) <= SQUARE:
        raise PixnetValueError(
            f"By {source}, a pixel has {x_um:.4g} x {y_um:.4g} µm. Square ones are needed: resample the image, or "
            "correct its metadata."
        )
    return float(np.sqrt(x_um * y_um))
