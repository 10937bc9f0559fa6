"""Gene names that fit a model: each step takes only pairs that are beyond doubt, and everything is reported."""

from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError, PixnetWarning
from pixnet_sd.pp._match_genes import guess_species

NAMES = pd.DataFrame(
    {
        "symbol": ["NEW1", "NEW2", "NEW3", "OWN"],
        "ensembl": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", ""],
        "other": ["OLD1|SHARED", "OLD2|SHARED|OWN", "", "OLD4"],
    }
)


@pytest.mark.parametrize(
    ("name", "gene", "how"),
    [
        ("ANY", "ANY", "exact"),
        ("ENSG00000000009.4", "ENSG00000000009", "version"),
        ("GRCh38__ANY", "ANY", "version"),
        ("ENSG00000000001.2", "NEW1", "ensembl"),
        ("NEW1", "ENSG00000000001", "ensembl"),
        ("any", "ANY", "case"),
        ("OLD1", "NEW1", "renamed"),
        ("NEW1", "OLD1", "renamed"),
        ("OLD2", "ENSG00000000002", "renamed"),
    ],
)
def test_ways_to_match(name: str, gene: str, how: str) -> None:
    found = ps.pp.match_genes([name, "OTHER"], [gene, "OTHER"], names=NAMES)
    assert found.loc[name].to_list() == [gene, how, gene]
    assert found.attrs["missing"] == []


@pytest.mark.parametrize(
    ("own", "genes"),
    [(["SHARED"], ["NEW1"]), (["OLD2"], ["OWN"]), (["OWN"], ["NEW2"]), (["OLD1", "NEW1"], ["NEW1"])],
)
def test_a_name_of_several_genes_or_a_current_one_is_not_taken_for_another(own: list[str], genes: list[str]) -> None:
    found = ps.pp.match_genes([*own, "A"], [*genes, "A"], names=NAMES)
    assert found.loc[own[0], "match"] is None
    assert found.loc[own[0], "name"] == own[0]
    assert found["match"].dropna().is_unique
    assert found["name"].is_unique


def test_several_partners_are_ambiguous() -> None:
    found = ps.pp.match_genes(["GENEa", "genea", "B", "C"], ["GENEA", "B", "C"], names=NAMES)
    assert found["how"].to_list() == ["ambiguous", "ambiguous", "exact", "exact"]
    assert found.attrs["missing"] == ["GENEA"]


def test_ids_of_the_table_and_of_the_model_count() -> None:
    class Known:
        genes: Sequence[str] = ("FIRST",)
        ensembl: Sequence[str] | None = ("ENSG00000000007",)

    table = ad.AnnData(np.zeros((1, 1)), var=pd.DataFrame({"gene_ids": ["ENSG00000000007.1"]}, index=["SECOND"]))
    assert ps.pp.match_genes(table, Known()).loc["SECOND"].to_list() == ["FIRST", "ensembl", "FIRST"]


def test_the_table_in_the_package_knows_what_was_renamed() -> None:
    found = ps.pp.match_genes(["FAM46C", "MLL", "ENSG00000141736.14", "KRT8"], ["TENT5C", "KMT2A", "ERBB2", "KRT8"])
    assert found["match"].to_list() == ["TENT5C", "KMT2A", "ERBB2", "KRT8"]


def test_hgnc_s_own_columns_are_read_from_a_file(tmp_path: Path) -> None:
    columns = {"symbol": ["NEW"], "prev_symbol": ["OLD|OLDER"], "alias_symbol": [""], "ensembl_gene_id": [""]}
    pd.DataFrame(columns).to_csv(tmp_path / "hgnc.txt", sep="\t", index=False)
    assert ps.pp.match_genes(["OLDER"], ["NEW"], names=tmp_path / "hgnc.txt").loc["OLDER", "how"] == "renamed"


def test_species_are_kept_apart() -> None:
    mouse, human = ["Krt8", "Actb", "Gm37381"], ["KRT8", "ACTB", "C1ORF43"]
    assert (guess_species(mouse), guess_species(human), guess_species(["krt8", "Actb"])) == ("mouse", "human", None)
    assert guess_species(["ENSMUSG00000000001.1"]) == "mouse"
    with pytest.raises(PixnetError, match="names of mouse genes.*the model those of human"):
        ps.pp.match_genes(mouse, human)


def test_few_matches_warn() -> None:
    with pytest.warns(PixnetWarning, match=r"Only 1 of the model's 3 genes are in the table \(1 exact\)"):
        found = ps.pp.match_genes(["A", "X", "Y"], ["A", "B", "C"])
    assert found.attrs["missing"] == ["B", "C"]


@pytest.mark.parametrize(
    ("own", "genes", "names", "words"),
    [
        ("KRT8", ["KRT8"], None, "table must be AnnData or its names; got 'KRT8'"),
        (["A"], 3, None, "model must be a Model or its genes; got 3"),
        (["A", "A"], ["A"], None, r"repeats 1, e\.g\. \['A'\]"),
        ([], ["A"], None, "has 0 names"),
        (["A"], ["A"], "nowhere.tsv", "cannot be read as a table"),
        (["A"], ["A"], pd.DataFrame({"name": ["A"]}), "needs the column 'symbol'"),
    ],
)
def test_what_cannot_be_matched_is_refused(own: object, genes: object, names: object, words: str) -> None:
    with pytest.raises(PixnetError, match=words):
        ps.pp.match_genes(own, genes, names=names)  # type: ignore[arg-type]
