"""Color maps, limits and palettes. Arrays and matplotlib only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_hex

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.pl._draw.theme import DARK, Theme

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000")
"""Okabe & Ito 2008: distinguishable with any kind of color vision."""
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES_ON_DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
"""Okabe and Ito's, without colors that are too faint for thin lines on that background."""
STEPS = 256
Limit = float | str | None


def make_colors(cmap: str | Colormap | None, alpha: float, theme: Theme, *, fade: bool) -> Colormap:
    """Return a color map with `alpha` at its high end; with `fade` its low end is transparent. NaN is transparent."""
    if not (isinstance(alpha, Real) and 0 < alpha <= 1):
        raise PixnetValueError(f"alpha must be a number above 0 and at most 1; got {alpha!r}.")
    rising = np.linspace(0, 1, STEPS)
    # The first colors of the default map equal the background: a zero would look like a shape without a value.
    places = rising if fade or cmap is not None else theme.off_paper + (1 - theme.off_paper) * rising
    colors = mpl.colormaps.get_cmap(cmap or theme.cmap)(places)
    # The square root keeps medium values visible over tissue.
    colors[:, 3] = alpha * (np.sqrt(rising) if fade else 1.0)
    return ListedColormap(colors).with_extremes(bad=(0, 0, 0, 0))


def find_limits(values: np.ndarray, vmin: Limit, vmax: Limit) -> Normalize:
    """Return the limits of the color scale. The default of `vmin` is 0, or the minimum if that is negative."""
    found = values[np.isfinite(values)]
    if not found.size:
        found = np.zeros(1)
    low = min(0.0, float(found.min())) if vmin is None else resolve_limit(found, vmin)
    high = float(found.max()) if vmax is None else resolve_limit(found, vmax)
    if not high > low:
        # Expression is sparse: 99 % of pixels may be zero while some are not.
        high = float(found.max()) if found.max() > low else low + 1.0
    return Normalize(low, high)


def resolve_limit(values: np.ndarray, stated: float | str) -> float:
    """Return a number as it is, and a percentile such as "p99" (as in scanpy) as the value there."""
    if not isinstance(stated, str):
        return float(stated)
    try:
        percent = float(stated.removeprefix("p"))
    except ValueError:
        percent = -1.0
    if not (stated.startswith("p") and 0 <= percent <= 100):
        raise PixnetValueError(f"vmin and vmax are numbers or percentiles such as 'p99'; got {stated!r}.")
    return float(np.percentile(values, percent))


def palette_for(
    names: Sequence[str], palette: Sequence[str] | Mapping[str, str] | None, stored: Sequence[str] | None, theme: Theme
) -> list[str]:
    """Return a color for each category: from `palette`, else as stored in the table, else from a safe palette."""
    if isinstance(palette, Mapping):
        missing = [name for name in names if name not in palette]
        if missing:
            raise PixnetValueError(f"The palette has no color for {missing[:5]}; it has {list(palette)[:5]}.")
        return [to_hex(palette[name]) for name in names]
    chosen = palette if palette is not None else stored
    if chosen is None or len(chosen) < len(names):
        if palette is not None:
            raise PixnetValueError(f"The palette has {len(palette)} colors for {len(names)} categories.")
        chosen = safe_palette(len(names), theme)
    return [to_hex(color) for color in chosen[: len(names)]]


def line_colors(count: int, theme: Theme) -> Sequence[str]:
    known = (*(LINES_ON_DARK if theme is DARK else LINES), theme.contrast)
    return known[:count] if count <= len(known) else safe_palette(max(count, 9), theme)[:count]


def safe_palette(count: int, theme: Theme) -> Sequence[str]:
    if count <= len(OKABE_ITO):
        return [theme.contrast if color == "#000000" else color for color in OKABE_ITO]
    from scanpy.plotting.palettes import default_20, default_28, default_102

    for palette in (default_20, default_28, default_102):
        if count <= len(palette):
            return list(palette)
    raise PixnetValueError(
        f"{count} categories cannot be distinguished by color; at most {len(default_102)} can be drawn. "
        "Group them, or pass palette=... with a color for each."
    )
