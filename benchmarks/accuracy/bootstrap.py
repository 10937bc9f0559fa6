"""An interval for a mean over sections and genes. numpy and pandas only."""

from __future__ import annotations

import numpy as np
import pandas as pd

DRAWS = 4000


def interval(values: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % interval of (sections, genes) values, NaN where there is none.

    Sections are drawn again, and genes, the same ones in all of them. With three or four sections of one patient or
    tissue it says how far chance in these goes, and nothing of others.
    """
    known = values.dropna(how="all").to_numpy()
    if not known.size:
        return (np.nan,) * 3
    random = np.random.default_rng(seed)
    sections, genes = (random.multinomial(size, np.full(size, 1 / size), draws) for size in known.shape)
    present = np.isfinite(known).astype(float)
    means = (genes @ np.nan_to_num(known).T) / np.maximum(genes @ present.T, 1)
    drawn = (means * sections).sum(1) / sections.sum(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.nanmean(known, axis=1).mean()), float(low), float(high)
