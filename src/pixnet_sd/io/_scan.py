"""Pixels and metadata of an image file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import dask.array as da
import numpy as np
import tifffile
from skimage import io

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import units
from pixnet_sd.io import _resolution, _tiff

RGBA = ("r", "g", "b", "a")


@dataclass(frozen=True, eq=False)
class Scan:
    """Image of a file."""

    path: Path
    """The file."""
    levels: tuple[da.Array, ...]
    """(c, y, x), finest first."""
    channels: tuple[str, ...]
    """Their names: r, g, b for color images, otherwise their numbers."""
    stated_mpp: dict[str, float]
    """µm per pixel by source, within the range of microscope slides."""
    unbelievable_mpp: dict[str, float]
    """The same outside that range, such as the 72 pixels per inch that programs write by default."""

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.levels[0].shape[1:]
        return int(height), int(width)

    def in_color(self) -> Scan:
        """Return the same with color names, for a caller who knows that an image of unnamed planes is H&E."""
        return replace(self, channels=RGBA[: len(self.channels)]) if len(self.channels) in (3, 4) else self


def read_scan(path: str | Path) -> Scan:
    """Read a TIFF file (OME-TIFF, SVS etc.) lazily, or a PNG or JPEG as a whole."""
    path = Path(path).absolute()  # pixels are read later, possibly from another working directory
    if not path.is_file():
        raise PixnetValueError(f"There is no image at {path}. Check the path.")
    try:
        tiff = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        return plain_scan(path)
    with tiff:
        return tiff_scan(path, tiff)


def tiff_scan(path: Path, tiff: tifffile.TiffFile) -> Scan:
    index = _tiff.main_series(tiff)
    series = tiff.series[index]
    axis = _tiff.channel_axis(series.axes, series.shape, path)
    levels = tuple(_tiff.level_array(path, index, k, level.axes, axis) for k, level in enumerate(series.levels))
    stated = _resolution.read_resolutions(tiff, index)
    low, high = units.SANE_MPP
    believable = {source: mpp for source, mpp in stated.items() if low <= mpp <= high}
    others = {source: mpp for source, mpp in stated.items() if source not in believable}
    names = RGBA[: len(levels[0])] if axis == "S" else tuple(map(str, range(len(levels[0]))))
    return Scan(path, levels, names, believable, others)


def plain_scan(path: Path) -> Scan:
    try:
        # Gray images have no channel axis.
        pixels = np.atleast_3d(io.imread(path))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow calls a broken PNG a SyntaxError
        raise PixnetValueError(
            f"{path} is no TIFF, PNG or JPEG that can be read: {error}. Convert it, e.g. to OME-TIFF with bfconvert."
        ) from error
    count = pixels.shape[2]
    names = RGBA[:count] if count in (3, 4) else tuple(map(str, range(count)))
    levels = (da.from_array(np.moveaxis(pixels, 2, 0), chunks=(-1, _tiff.BLOCK_PX, _tiff.BLOCK_PX)),)
    return Scan(path, levels, names, {}, {})
