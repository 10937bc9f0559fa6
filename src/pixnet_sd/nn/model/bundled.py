"""List the models in the package, from their descriptions only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pixnet_sd._frames import SentenceFrame
from pixnet_sd._metrics.scores import RELIABLE
from pixnet_sd.nn.model.file import DESCRIPTION, SHELF, read_description


def models() -> pd.DataFrame:
    """List the models in the package, with their scores on held-out sections.

    Returns
    -------
    One row per model, by the name for ``ps.Model.load`` and the argument ``model``. ``PCC@M`` is the mean of the genes'
    held-out Pearson correlations, ``genes_above_0.2`` the number of genes that reach 0.2.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> ps.models().loc["default", "species"]
    'human'
    """
    folders = [path.parent for path in sorted(SHELF.glob(f"*/{DESCRIPTION}"))]
    rows = {folder.name: model_row(read_description(folder)) for folder in folders}
    return SentenceFrame(pd.DataFrame.from_dict(rows, orient="index"))


def model_row(description: dict) -> dict[str, object]:
    card = description["card"]
    scores = np.array(list(card["scores"].values()))
    facts = {name: card[name] for name in ("tissue", "species", "data", "validation", "license", "limits")}
    return {
        "genes": len(description["genes"]),
        "mpp": description["mpp"],
        "unit": description["unit"],
        "PCC@M": float(scores.mean()),
        f"genes_above_{RELIABLE}": int((scores >= RELIABLE).sum()),
        **facts,
    }
