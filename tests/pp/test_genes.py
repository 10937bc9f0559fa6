"""Genes are marked by what they are asked for, and nothing is filtered."""

import numpy as np
import pytest
from anndata import AnnData
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError


@pytest.mark.parametrize("flavor", ["mean", "highly_variable", "spatially_variable"])
def test_n_genes_are_marked_and_none_lost(toy: SpatialData, flavor: str) -> None:
    table = toy["bins_8um_counts"]
    ps.pp.select_genes(toy, "bins_8um_counts", n_top_genes=10, flavor=flavor)  # type: ignore[arg-type]
    assert table.var["selected"].sum() == 10
    assert table.n_vars == 60
    assert table.var.loc[table.var["selected"], "selected_score"].min() >= np.nanmax(
        table.var.loc[~table.var["selected"], "selected_score"]
    )


def test_mean_is_that_of_counts_per_10000(toy: SpatialData) -> None:
    columns = ps.pp.select_genes(toy, "spots_counts", n_top_genes=5, inplace=False)
    counts = toy["spots_counts"].X.toarray()
    means = (1e4 * counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    assert columns is not None
    np.testing.assert_allclose(columns["selected_score"], means)
    assert "selected" not in toy["spots_counts"].var


def test_spatially_variable_genes_vary_in_space(toy: SpatialData) -> None:
    columns = ps.pp.select_genes(toy, "bins_8um_counts", n_top_genes=10, flavor="spatially_variable", inplace=False)
    assert columns is not None
    assert columns.loc[columns["selected"], "selected_score"].min() > 0.05


def test_genes_of_several_sections_are_ranked_together_and_marked_in_each() -> None:
    rates = {"A": (9.0, 1.0), "B": (5.0, 6.0), "C": (1.0, 2.0), "only here": (20.0, 0.0)}
    values = [np.array([[of[n] for of in rates.values()]]) for n in (0, 1)]
    sections = [SpatialData.init_from_elements({"t": AnnData(one)}) for one in values]
    for section in sections:
        section["t"].var_names = list(rates)
    sections[1]["t"] = sections[1]["t"][:, ["C", "B", "A"]].copy()
    columns = ps.pp.select_genes(sections, n_top_genes=1, inplace=False)
    assert columns is not None
    shares = np.array([[9 / 35, 1 / 9], [5 / 35, 6 / 9], [1 / 35, 2 / 9]])
    np.testing.assert_allclose(columns["selected_score"], 1e4 * shares.mean(axis=1))
    ps.pp.select_genes(sections, n_top_genes=1)
    assert [section["t"].var.index[section["t"].var["selected"]].to_list() for section in sections] == [["B"], ["B"]]
    with pytest.raises(PixnetValueError, match="the 2 tables have in common 3 genes"):
        ps.pp.select_genes(sections, n_top_genes=4)
    with pytest.raises(PixnetValueError, match="list of sections is empty"):
        ps.pp.select_genes([])


def test_what_cannot_be_is_refused(toy: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match="there are 2: 'spots_counts', 'bins_8um_counts'"):
        ps.pp.select_genes(toy)
    with pytest.raises(PixnetValueError, match="has 60"):
        ps.pp.select_genes(toy, "spots_counts", n_top_genes=61)
    with pytest.raises(PixnetValueError, match=r"n_top_genes=0\.5 must be a whole number"):
        ps.pp.select_genes(toy, "spots_counts", n_top_genes=0.5)  # type: ignore[arg-type]
    with pytest.raises(PixnetValueError, match="use one of"):
        ps.pp.select_genes(toy, "spots_counts", n_top_genes=6, flavor="best")  # type: ignore[arg-type]
    toy["spots_counts"].X = toy["spots_counts"].X.log1p()
    with pytest.raises(PixnetValueError, match="layer='counts'"):
        ps.pp.select_genes(toy, "spots_counts", n_top_genes=6)
