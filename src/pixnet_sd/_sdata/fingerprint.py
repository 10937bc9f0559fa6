"""By what the pixels of an image element are known again: shape, type, channels, scale, and a few of their values."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np

from pixnet_sd._sdata import affine
from pixnet_sd._sdata.storage import origin

SAMPLED_CHANNELS, SAMPLED_PX = 4, 4
PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))
"""Where a sample is looked for, in shares of height and width: the first that is not all NaN."""
SAME_VALUE = 1e-5
"""Relative: another processor may round the last digits of a gene otherwise."""
SAME_SCALE = 1e-3


def describe(element: Any) -> dict[str, Any]:
    """Describe what `fits` compares, as JSON."""
    pixels = affine.finest_array(element)
    return {
        "shape": list(pixels.shape),
        "dtype": str(pixels.dtype),
        "channels": digest_of_channels(pixels),
        "scale": affine.pixel_scales(element),
        "sample": sample(pixels.data),
    }


def fits(of: Mapping[str, Any], element: Any, key: str, *, named: bool) -> bool:
    """Check whether these are the described pixels or, under their name, a crop of them."""
    pixels = affine.finest_array(element)
    if str(pixels.dtype) != of["dtype"] or digest_of_channels(pixels) != of["channels"]:
        return False
    if list(pixels.shape) == of["shape"]:
        return same_sample(pixels.data, of["sample"])
    inside = all(side <= whole for side, whole in zip(pixels.shape, of["shape"], strict=True))
    return named and inside and same_scale(of, element, key)


def digest_of_channels(pixels: Any) -> str:
    names = "\0".join(str(name) for name in pixels.coords["c"].values)
    return hashlib.blake2b(names.encode(), digest_size=8).hexdigest()


def same_scale(of: Mapping[str, Any], element: Any, key: str) -> bool:
    """Check that a crop has pixels of the same size, in a coordinate system that both have."""
    found = affine.pixel_scales(element)
    known = {name: affine.look_up(of["scale"], name, key) for name in found}
    common = [abs(found[name] / scale - 1) for name, scale in known.items() if scale is not None]
    return bool(common) and max(common) < SAME_SCALE


def sample(data: Any) -> dict[str, Any]:
    """Read a few neighboring pixels of the first channels, and where they are."""
    height, width = data.shape[-2:]
    for down, right in PLACES:
        place = [int(down * height), int(right * width)]
        values = read_patch(data, place)
        if np.isfinite(values).any():
            break
    return {"at": place, "values": base64.b64encode(values.tobytes()).decode()}


def same_sample(data: Any, known: Mapping[str, Any]) -> bool:
    expected = np.frombuffer(base64.b64decode(known["values"]), np.float32)
    return same_values(read_patch(data, known["at"]).ravel(), expected)


def same_values(found: np.ndarray, expected: np.ndarray) -> bool:
    """But for rounding."""
    finite = np.abs(expected[np.isfinite(expected)])
    tolerance = SAME_VALUE * float(finite.max(initial=0.0))
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=tolerance, equal_nan=True)


def read_patch(data: Any, place: Any) -> np.ndarray:
    y, x = place
    patch = data[:SAMPLED_CHANNELS, y : y + SAMPLED_PX, x : x + SAMPLED_PX]
    if isinstance(patch, da.Array):
        patch = patch.compute(scheduler="synchronous")  # a few pixels; no cluster is asked
    return np.ascontiguousarray(patch, np.float32)


def is_changed(element: Any, token: str) -> bool:
    """Check whether something was computed from the array of that name, beyond a selection of pixels."""
    data = affine.finest_array(element).data
    return isinstance(data, da.Array) and origin.source_name(data) != token and token in data.dask.layers
