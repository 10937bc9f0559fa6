"""Find the slides that a command names: files, folders of scanners, stores, folders of these, globs and CSV files."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli._slides import MARKERS, open_slide

if TYPE_CHECKING:
    from spatialdata import SpatialData

FILES = (".svs", ".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg")
COUNTS = "*filtered_feature_bc_matrix.h5"
COLUMNS = ("path", "mpp", "image", "shapes")
"""Of a CSV file; others are for other programs."""


@dataclass(frozen=True)
class Source:
    """A slide to read."""

    path: str
    mpp: float | None = None
    image: str | None = None
    """Microscope image of a folder of Space Ranger."""
    shapes: str | None = None
    """File with outlines, in pixels of the image."""

    @property
    def kind(self) -> str | None:
        """Name what it is; None if it is nothing that can be read."""
        path = Path(self.path)
        if path.is_dir():
            return name_folder(path)
        return "slide" if path.suffix.lower() in FILES else None

    def read(self) -> SpatialData:
        import pixnet_sd as ps

        if self.kind == "store":
            return open_slide(self.path)
        if self.kind == "Visium":
            return ps.io.visium(self.path, image=self.image, mpp=self.mpp)
        if self.kind == "slide":
            return ps.io.slide(self.path, mpp=self.mpp)
        found = "is not there" if not Path(self.path).exists() else "is neither a slide, nor a store, nor of Visium"
        raise PixnetValueError(f"{self.path} {found}. Slides end in {' '.join(FILES)}.")


def name_folder(path: Path) -> str | None:
    if any((path / name).exists() for name in MARKERS):
        return "store"
    return "Visium" if any(path.glob(COUNTS)) and (path / "spatial").is_dir() else None


def find_sources(paths: Sequence[str], mpp: float | None) -> list[Source]:
    """List all slides that are named, each once."""
    found = {one.path: one for path in paths for one in expand_path(path, mpp)}
    return list(found.values())


def expand_path(text: str, mpp: float | None) -> Iterator[Source]:
    path = Path(text)
    if not path.exists() and (matches := sorted(glob.glob(text))):
        for match in matches:
            yield from expand_path(match, mpp)
    elif path.suffix.lower() == ".csv":
        yield from read_sheet(path, mpp)
    elif path.is_dir() and name_folder(path) is None:
        yield from list_folder(path, mpp)
    else:
        yield Source(text, mpp)


def list_folder(folder: Path, mpp: float | None) -> Iterator[Source]:
    inside = [Source(str(path), mpp) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    slides = [one for one in inside if one.kind is not None]
    if not slides:
        raise PixnetValueError(f"{folder} holds no slides: none of its {len(inside)} entries can be read.")
    yield from slides


def read_sheet(file: Path, mpp: float | None) -> Iterator[Source]:
    """Read rows of a CSV file; its paths are relative to it."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not rows[0].get("path"):
        raise PixnetValueError(f"{file} needs a row of names with the column 'path', and a row for each slide.")
    for number, row in enumerate(rows, 2):
        own = {name: (row.get(name) or "").strip() or None for name in COLUMNS}
        path, image, shapes = (place_beside(file, own[name]) for name in ("path", "image", "shapes"))
        if path is None:
            raise PixnetValueError(f"{file}, line {number}: there is no path.")
        yield Source(path, parse_mpp(own["mpp"], file, number) or mpp, image, shapes)


def place_beside(file: Path, path: str | None) -> str | None:
    return None if path is None else str(file.parent / path)


def parse_mpp(text: str | None, file: Path, number: int) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise PixnetValueError(f"{file}, line {number}: mpp is {text!r}, which is no number.") from error
