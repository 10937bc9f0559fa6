"""Colors of light and dark figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colors other than those of data."""

    ink: str
    """Text and lines."""
    paper: str
    """Background."""
    faint: str
    """Guide lines."""
    outlines: Mapping[str, str]
    """Outlines of shapes over H&E in gray and in color."""
    contrast: str
    """Category color of the highest contrast to the background."""
    cmap: str
    """Sequential color map that starts at the background."""
    off_paper: float
    """Position on that map of the first color that differs visibly from the background."""


LIGHT = Theme(
    ink="#1a1a1a",
    paper="#ffffff",
    faint="#9a9a9a",
    outlines={"gray": "#00a651", "color": "#ffee00"},
    contrast="#000000",
    cmap="magma_r",
    off_paper=0.04,
)
DARK = Theme(
    ink="#ececec",
    paper="#121212",
    faint="#7d7d7d",
    outlines={"gray": "#7df9ff", "color": "#ffee00"},
    contrast="#ffffff",
    cmap="magma",
    off_paper=0.12,
)


def theme_of(dark: bool) -> Theme:
    return DARK if dark else LIGHT
