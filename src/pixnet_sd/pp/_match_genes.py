"""Match the genes of a table to those of a model. Names only, no counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from anndata import AnnData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError, warn
from pixnet_sd._settings import logger

HUMAN_GENES = Path(__file__).with_name("human_genes.tsv.gz")
ID_COLUMNS = ("gene_ids", "gene_id", "ensembl", "ensembl_id", "feature_id")
"""Columns of ``var`` in which readers keep Ensembl ids."""
OTHER_COLUMNS = ("other", "prev_symbol", "alias_symbol")
ENSEMBL_COLUMNS = ("ensembl", "ensembl_gene_id")
"""Columns of tables of names: our own, and those of HGNC's complete set."""
GENOME = re.compile(r"^(GRCh3[78]|GRCm3[89]|hg19|hg38|mm10|mm39)_+")
"""What Space Ranger puts before names where several genomes were read."""
VERSION = re.compile(r"^(ENS[A-Z]*G\d{11})\.\d+$")
FEW = 0.5
"""Share of the model's genes below which there is a warning."""

Keys = Callable[[str], set[str]]


class HasGenes(Protocol):
    """A model."""

    genes: Sequence[str]
    ensembl: Sequence[str] | None


@dataclass(frozen=True)
class GeneNames:
    """Current symbols by other names and by Ensembl ids."""

    symbols: frozenset[str]
    by_other: dict[str, set[str]]
    by_ensembl: dict[str, set[str]]

    def of_id(self, name: str) -> set[str]:
        """Return the symbols of an Ensembl id; a symbol stands for itself."""
        plain = strip_decoration(name)
        return self.by_ensembl.get(plain, set()) if plain.startswith("ENS") else {plain}

    def current(self, name: str) -> set[str]:
        """Return the symbol that a name stands for, if it is one; a current one stands for itself alone."""
        plain = strip_decoration(name)
        if plain in self.symbols:
            return {plain}
        found = self.by_ensembl.get(plain) or self.by_other.get(plain, set())
        return found if len(found) == 1 else set()


def match_genes(
    table: AnnData | Sequence[str], model: HasGenes | Sequence[str], *, names: str | Path | pd.DataFrame | None = None
) -> pd.DataFrame:
    """Find for each gene of a table the gene of a model that it is, by exact name, Ensembl id, case or retired symbol.

    Each step looks only at what the earlier ones left, and takes a pair only if nothing else fits either of the two.
    Names of another species are refused.

    Parameters
    ----------
    table
        The table, or its names. Ensembl ids are also looked up in ``var``, e.g. in ``gene_ids``.
    model
        The model, or its genes.
    names
        Table of names in place of the one in the package, which has human genes as of September 2022. A file or
        DataFrame with the columns ``symbol`` and ``ensembl``, ``other``, or those of HGNC's complete set
        (``ensembl_gene_id``, ``prev_symbol``, ``alias_symbol``), names joined by ``|``.

    Returns
    -------
    One row for each gene of the table: ``match``, the model's name or `None`; ``how`` it was found: ``"exact"``,
    ``"version"`` (a version or genome was left out), ``"ensembl"``, ``"case"``, ``"renamed"``, ``"ambiguous"`` or
    ``"none"``; and ``name``, the match or the table's own name. ``attrs["missing"]`` lists genes of the model that the
    table lacks. A log line sums it up, and a warning tells if most of the model's genes are missing.

    Raises
    ------
    PixnetValueError
        If the two are of different species, or a name is repeated.

    See Also
    --------
    pixnet_sd.tl.evaluate : Compare tables whose names match.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> found = ps.pp.match_genes(["KRT8", "fam46c", "MLL"], ["KRT8", "TENT5C", "KMT2A"])
    >>> found["how"].to_list()
    ['exact', 'renamed', 'renamed']
    """
    own, genes = list_names(table, "table"), list_names(getattr(model, "genes", model), "model")
    check_species(own, genes)
    known = known_names(names)
    given = {**column_ids(table), **dict(zip(genes, getattr(model, "ensembl", None) or [], strict=False))}
    steps: dict[str, Keys] = {
        "exact": lambda name: {name},
        "version": lambda name: {strip_decoration(name)},
        "ensembl": lambda name: ensembl_ids(name, given) | known.of_id(name),
        "case": lambda name: {strip_decoration(name).casefold()},
        "renamed": lambda name: known.current(name) or known.current(name.upper()),
    }
    found = match_names(own, genes, steps)
    report = make_report(own, found)
    report.attrs["missing"] = sorted(set(genes) - set(report["match"].dropna()))
    tell_matches(report, len(genes))
    return report


def make_report(own: Sequence[str], found: dict[str, tuple[str | None, str]]) -> pd.DataFrame:
    rows = [found.get(name, (None, "none")) for name in own]
    columns = {"match": [gene for gene, _ in rows], "how": [how for _, how in rows]}
    return pd.DataFrame(
        {**columns, "name": [gene or name for name, (gene, _) in zip(own, rows, strict=True)]},
        index=pd.Index(own),
        dtype=object,
    )


def list_names(names: object, argument: str) -> list[str]:
    if isinstance(names, str) or not isinstance(names, AnnData | Iterable):
        wanted = "AnnData or its names" if argument == "table" else "a Model or its genes"
        raise PixnetTypeError(f"{argument} must be {wanted}; got {names!r}.")
    found = list(map(str, names.var_names if isinstance(names, AnnData) else names))
    repeated = [name for name, times in Counter(found).items() if times > 1]
    if repeated or not found:
        raise PixnetValueError(
            f"The {argument} has {len(found)} names, and repeats {len(repeated)}, e.g. {repeated[:3]}. At least one is "
            "needed, and each once: table.var_names_make_unique()."
        )
    return found


def column_ids(table: object) -> dict[str, str]:
    """Return Ensembl ids by name, from a column of ``var``."""
    var = table.var if isinstance(table, AnnData) else pd.DataFrame()
    column = next((column for column in ID_COLUMNS if column in var), None)
    return {} if column is None else dict(zip(map(str, var.index), map(str, var[column]), strict=True))


def strip_decoration(name: str) -> str:
    """Leave out the genome before a symbol, and the version behind an Ensembl id."""
    return VERSION.sub(r"\1", GENOME.sub("", name))


def ensembl_ids(name: str, ids: dict[str, str]) -> set[str]:
    given = {strip_decoration(name), strip_decoration(ids.get(name, ""))}
    return {one for one in given if one.startswith("ENS")}


def match_names(own: Sequence[str], genes: Sequence[str], steps: dict[str, Keys]) -> dict[str, tuple[str | None, str]]:
    """Match step by step; a pair counts if each is the only partner of the other."""
    found: dict[str, tuple[str | None, str]] = {}
    taken: set[str] = set()
    for how, keys in steps.items():
        left = {name: keys(name) for name in own if found.get(name, (None, ""))[0] is None}
        right = {gene: keys(gene) for gene in genes if gene not in taken}
        partners, back = find_partners(left, right), find_partners(right, left)
        for name, several in partners.items():
            gene = next(iter(several))
            sure = len(several) == 1 and len(back[gene]) == 1
            found[name] = (gene, how) if sure else (None, "ambiguous")
            taken |= {gene} if sure else set()
    return found


def find_partners(left: dict[str, set[str]], right: dict[str, set[str]]) -> dict[str, set[str]]:
    """Find what shares a key with each name, where there is any."""
    by_key: dict[str, set[str]] = {}
    for gene, keys in right.items():
        for key in keys:
            by_key.setdefault(key, set()).add(gene)
    partners = {name: set().union(*(by_key.get(key, set()) for key in keys)) for name, keys in left.items()}
    return {name: several for name, several in partners.items() if several}


def check_species(own: Sequence[str], genes: Sequence[str]) -> None:
    here, there = guess_species(own), guess_species(genes)
    if here and there and here != there:
        raise PixnetValueError(
            f"The table has names of {here} genes, e.g. {list(own[:3])}, the model those of {there} genes, e.g. "
            f"{list(genes[:3])}. The same letters are not the same gene: map orthologs by a table of your choice first."
        )


def guess_species(names: Sequence[str]) -> str | None:
    """Tell human from mouse by Ensembl ids, or by the letters of at least nine in ten symbols."""
    plain = [strip_decoration(name) for name in names]
    symbols = [name for name in plain if re.search("[A-Za-z]{2}", name)]
    human = np.mean([not name.startswith("ENSMUSG") and name.upper() == name for name in symbols or [""]])
    mouse = np.mean([name.startswith("ENSMUSG") or name.capitalize() == name for name in symbols or [""]])
    return "human" if human >= 0.9 > mouse else "mouse" if mouse >= 0.9 > human else None


def known_names(source: str | Path | pd.DataFrame | None) -> GeneNames:
    if source is None:
        return read_human_genes()
    if not isinstance(source, pd.DataFrame):
        try:
            source = pd.read_csv(source, sep=None, engine="python", dtype=str, comment="#")
        except (OSError, ValueError) as error:
            raise PixnetValueError(f"names={str(source)!r} cannot be read as a table: {error}.") from error
    return index_names(source)


@cache
def read_human_genes() -> GeneNames:
    return index_names(pd.read_csv(HUMAN_GENES, sep="\t", skiprows=1, dtype=str, keep_default_na=False))


def index_names(table: pd.DataFrame) -> GeneNames:
    others = [column for column in OTHER_COLUMNS if column in table]
    ids = [column for column in ENSEMBL_COLUMNS if column in table]
    if "symbol" not in table or not (others or ids):
        raise PixnetValueError(
            f"A table of names needs the column 'symbol' and one of {[*OTHER_COLUMNS, *ENSEMBL_COLUMNS]}; it has "
            f"{list(table.columns)[:10]}."
        )
    symbols = table["symbol"].astype(str)
    return GeneNames(frozenset(symbols), collect_symbols(symbols, table[others]), collect_symbols(symbols, table[ids]))


def collect_symbols(symbols: pd.Series, columns: pd.DataFrame) -> dict[str, set[str]]:
    """Collect the symbols of each name in columns of names that are joined by bars."""
    found: dict[str, set[str]] = {}
    for column in columns:
        for symbol, joined in zip(symbols, columns[column].fillna("").astype(str), strict=True):
            for name in filter(None, joined.split("|")):
                found.setdefault(name, set()).add(symbol)
    return found


def tell_matches(report: pd.DataFrame, genes: int) -> None:
    """Log how many genes were found, and how; warn if most of the model's are missing."""
    matched, missing = report["match"].notna().sum(), report.attrs["missing"]
    ways: Any = report.loc[report["match"].notna(), "how"].value_counts()
    by = ", ".join(f"{count:,} {how}" for how, count in ways.items()) or "none"
    unclear = int((report["how"] == "ambiguous").sum())
    text = f"{matched:,} of the model's {genes:,} genes are in the table ({by}); {unclear:,} names are ambiguous"
    if matched < FEW * genes:
        warn(f"Only {text}. Missing are e.g. {missing[:5]}; the table has e.g. {list(report.index[:3])}.")
    logger.info("%s", text)
