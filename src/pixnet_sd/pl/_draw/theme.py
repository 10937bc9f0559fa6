"""Light and dark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours of what is not data."""

    ink: str
    """Text and lines."""
    paper: str
    """What they stand on."""
    faint: str
    """Lines that guide the eye."""
    outline: str
    """Outlines of shapes over H&E."""
    contrast: str
    """The category colour that is farthest from the paper."""
    cmap: str
    """A sequential colour map that leaves the paper as values rise."""
    off_paper: float
    """Where on that map the first colour lies that is not the paper's."""


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
