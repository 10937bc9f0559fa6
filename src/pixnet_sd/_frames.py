"""Tables whose cells are sentences. pandas only."""

from __future__ import annotations

import pandas as pd


class SentenceFrame(pd.DataFrame):
    """A DataFrame that is printed with whole sentences, where pandas would cut them at 50 characters."""

    @property
    def _constructor(self) -> type[SentenceFrame]:
        return SentenceFrame

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None):
            return super()._repr_html_()
