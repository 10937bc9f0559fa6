"""From results to tables: as sections lie, means over their views, controls, differences to ours with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import results
from .bootstrap import interval
from .protocol import Fold, Prediction, Study, evaluate, one_map
from .rows import OURS, ROWS

HEADLINES = ("PCC@M", "residual", "PCC@F", "PCC@S", "best_50", "share_of_ceiling")
SHUFFLED, ONE_MAP = "labels shuffled", "one map for all genes"


@dataclass(frozen=True)
class Scored:
    """One prediction, scored."""

    text: str
    """The row, as the table calls it."""
    section: str
    seed: int
    view: int
    control: str
    """Empty, or which control it is."""
    genes: pd.DataFrame
    """One row per gene, as `ps.tl.evaluate` gives it."""
    seconds: tuple[float, float]
    """To train and to predict."""

    def facts(self) -> dict[str, object]:
        means = {name: self.genes[name].mean() for name in ("spearman", "mse")}
        own = {name: getattr(self, name) for name in ("section", "seed", "view", "control")}
        headlines = {name: self.genes.attrs[name] for name in HEADLINES}
        return {"row": self.text, **own, **headlines, **means, "train_s": self.seconds[0], "predict_s": self.seconds[1]}


def write(study: Study) -> str:
    """Everything that was run: a summary as markdown and csv, and every gene of every run as csv."""
    scored = list(every(study))
    if not scored:
        return f"Nothing was run on {study.data} yet."
    folder = study.folder / "report" / study.data
    folder.mkdir(parents=True, exist_ok=True)
    table, ceilings = summary(scored), ceiling_of(scored)
    table.to_csv(folder / "summary.csv")
    pd.DataFrame([one.facts() for one in scored]).to_csv(folder / "runs.csv", index=False)
    pd.concat([by_gene(one) for one in scored]).to_csv(folder / "genes.csv", index=False)
    text = f"{as_markdown(table)}\n\nNoise ceilings of PCC@M and of residuals: {ceilings}\n"
    (folder / "summary.md").write_text(text)
    return text


def every(study: Study) -> Iterator[Scored]:
    """All results on disk, in the order of the rows; after several seeds also the mean of their predictions."""
    for name, row in ROWS.items():
        for fold in study.folds():
            runs = list(stored(study, name, fold, row.seeds))
            for seed, found in runs:
                yield from scored(study, row.text, fold, seed, found)
            if len(runs) > 1:
                yield from scored(
                    study, f"{row.text}, mean of {len(runs)} runs", fold, 0, merged([run for _, run in runs])
                )
            for seed, found in stored(study, name, fold.control(), 1):
                yield from scored(study, row.text, fold.control(), seed, found)


def stored(study: Study, name: str, fold: Fold, seeds: int) -> Iterator[tuple[int, Prediction]]:
    for seed in range(seeds):
        path = results.path_of(study, name, fold, seed)
        if path.exists():
            yield seed, results.load(path)


def merged(runs: list[Prediction]) -> Prediction:
    """Their mean; its seconds would count features twice, so they are left open."""
    return Prediction(np.mean([run.values for run in runs], axis=0), np.nan, np.nan, runs[0].unit)


def scored(study: Study, text: str, fold: Fold, seed: int, found: Prediction) -> Iterator[Scored]:
    """Every view of the section, and the control that needs no training."""
    section, seconds = study.section(fold.test), (found.train_s, found.predict_s)
    for view, values in enumerate(found.values):
        genes = evaluate(section, fold.genes, values, found.unit)
        yield Scored(text, fold.test, seed, view, SHUFFLED if fold.shuffled else "", genes, seconds)
    if not fold.shuffled:
        same = evaluate(section, fold.genes, one_map(found.values[0], found.unit), "log1p")
        yield Scored(text, fold.test, seed, 0, ONE_MAP, same, seconds)


def by_gene(one: Scored) -> pd.DataFrame:
    places = {"row": one.text, "section": one.section, "seed": one.seed, "view": one.view, "control": one.control}
    return one.genes.reset_index().assign(**places)


def summary(scored: list[Scored]) -> pd.DataFrame:
    """One line a row: as sections lie, means over views, controls; over seeds of each section, then over sections."""
    runs = pd.DataFrame([one.facts() for one in scored])
    true = runs[runs["control"] == ""]
    lies = over_sections(true[true["view"] == 0])
    table = lies[list(HEADLINES)].assign(**{f"{name}, 8 views": over_sections(true)[name] for name in HEADLINES[:2]})
    for control, of in runs[runs["control"] != ""].groupby("control", sort=False):
        table = table.assign(**{f"{control}, {name}": over_sections(of)[name] for name in HEADLINES[:2]})
    sections = true.groupby(["row", "section"], sort=False)["PCC@M"].mean().unstack("section")
    return table.join(sections).join(differences(scored)).join(lies[["spearman", "mse", "train_s", "predict_s"]])


def over_sections(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds and views of each section, then over sections."""
    each = runs.groupby(["row", "section"], sort=False).mean(numeric_only=True)
    return each.groupby("row", sort=False).mean()


def as_markdown(table: pd.DataFrame) -> str:
    """Without what is not known."""
    text: str = table.astype(object).where(table.notna(), None).to_markdown(floatfmt=".3f", missingval="")
    return text


def differences(scored: list[Scored]) -> pd.DataFrame:
    """Ours minus each row, gene by gene and section by section, with 95 % intervals; on the sections that both have."""
    tables = {text: correlations(scored, text) for text in dict.fromkeys(one.text for one in scored)}
    reference = next((ROWS[name].text for name in OURS if ROWS[name].text in tables), None)
    if reference is None:
        return pd.DataFrame(index=list(tables))
    rows = {text: interval(tables[reference] - table) for text, table in tables.items() if text != reference}
    names = [f"{reference} minus this", "from", "to"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def correlations(scored: list[Scored], text: str) -> pd.DataFrame:
    """(sections, genes) Pearson, means over seeds and views; NaN where a section has not that gene."""
    own = [one for one in scored if one.text == text and one.control == ""]
    columns = [one.genes["pearson"].rename(one.section) for one in own]
    return pd.concat(columns, axis=1).T.groupby(level=0).mean()


def ceiling_of(scored: list[Scored]) -> str:
    found = {one.section: one.genes.attrs for one in scored}
    return ", ".join(f"{name} {its['ceiling']:.3f} and {its['residual_ceiling']:.3f}" for name, its in found.items())
