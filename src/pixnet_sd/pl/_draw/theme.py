"""Colors of light and dark figures."""

from __future__ import annotations

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
    outline: str
    """Outlines of shapes over H&E."""
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
    outline="#00a651",
    contrast="#000000",
    cmap="magma_r",
    off_paper=0.04,
)
DARK = Theme(
    ink="#ececec", paper="#121212", faint="#7d7d7d", outline="#7df9ff", contrast="#ffffff", cmap="magma", off_paper=0.12
)


def theme_of(dark: bool) -> Theme:
    return DARK if dark else LIGHT
