"""Table of a model's genes and their held-out scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from pixnet_sd._errors import PixnetTypeError
from pixnet_sd._metrics.scores import RELIABLE

WARNING = "color: #D55E00"
"""Legible on black and on white."""


class Described(Protocol):
    """Fields of a model card that are read."""

    @property
    def name(self) -> str: ...
    @property
    def tissue(self) -> str: ...
    @property
    def species(self) -> str: ...
    @property
    def validation(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, float]: ...


class Carded(Protocol):
    """Object with genes and a card, such as a `Model`."""

    genes: tuple[str, ...]
    card: Described


def model(model: Carded) -> Styler:
    """List a model's genes by held-out score, best first, and mark weak ones.

    Parameters
    ----------
    model
        A trained model.

    Returns
    -------
    A styled table for notebooks: ``score`` is the held-out Pearson correlation, ``note`` says if it is below 0.2 or
    was never computed. ``.data`` is the plain DataFrame.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> table = ps.pl.model(ps.Model.load("default"))
    >>> list(table.data.columns)
    ['score', 'note']
    """
    if not (hasattr(model, "genes") and hasattr(model, "card")):
        raise PixnetTypeError(f"A model is needed, with its genes and card; got {type(model).__name__}.")
    table = gene_score_table(model)
    styled = table.style.format({"score": "{:.2f}"}, na_rep="")
    return styled.apply(warn_of_weak, axis=1).set_caption(table_head(model, table))


def gene_score_table(model: Carded) -> pd.DataFrame:
    scores = pd.Series([model.card.scores.get(gene, np.nan) for gene in model.genes], dtype=float)
    note = np.select([scores.isna(), scores < RELIABLE], ["not scored", f"weak, below {RELIABLE}"], "")
    table = pd.DataFrame({"score": scores.to_numpy(), "note": note}, index=pd.Index(model.genes, name="gene"))
    return table.sort_values("score", ascending=False, kind="stable")


def warn_of_weak(row: pd.Series) -> list[str]:
    return [WARNING if row["note"] else ""] * len(row)


def table_head(model: Carded, table: pd.DataFrame) -> str:
    card, scores = model.card, table["score"].dropna()
    origin = f"{card.name}: {len(table)} genes, {card.tissue}, {card.species}"
    if scores.empty:
        return f"{origin}; no gene was scored on held-out data"
    weak = int((scores < RELIABLE).sum())
    return f"{origin}; mean Pearson {scores.mean():.2f} on {card.validation}; {weak} of {len(scores)} below {RELIABLE}"
