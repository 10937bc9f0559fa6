"""Counts come out the same from any storage, matched to their shapes by id; anything doubtful is refused."""

from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from spatialdata import SpatialData
from spatialdata.models import TableModel

from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd._sdata.counts import asked_genes, read_counts

TRUTH = np.array([[5, 0, 1], [0, 0, 0], [2, 7, 0]])
IDENTITY = build.make_transformations({"global": np.eye(3)})
STORAGES = {
    "dense": np.asarray,
    "float": lambda x: x.astype(np.float32),
    "csr": sp.csr_matrix,
    "csc": sp.csc_array,
    "dask": lambda x: da.from_array(x, chunks=2),
}


def holding(values: object, instances: list, index: list | None = None) -> SpatialData:
    ids = pd.Index(index if index is not None else ["a", "b", "c"])
    spots = build.make_circles(np.arange(2.0 * len(ids)).reshape(-1, 2), 1.0, ids, IDENTITY)
    table = build.make_table(values, pd.DataFrame(index=["G1", "G2", "G3"]), "spots", pd.Index(["a", "b", "c"]))
    table.obs["instance_id"] = instances  # afterwards, since parsing refuses some of what files hold
    return build.make_section({"spots": spots, "counts": table}, {}, {})


@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_gives_the_same(storage: str) -> None:
    found = read_counts(holding(STORAGES[storage](TRUTH), ["c", "a", "b"]), "counts", "spots")
    np.testing.assert_array_equal(found.matrix.toarray(), TRUTH)
    np.testing.assert_array_equal(found.rows, [2, 0, 1])
    np.testing.assert_array_equal(found.totals, TRUTH.sum(axis=1))


def test_backed_file(tmp_path: Path) -> None:
    sdata = holding(sp.csr_matrix(TRUTH), ["a", "b", "c"])
    sdata.tables["counts"].write_h5ad(tmp_path / "counts.h5ad")
    sdata.tables["counts"] = ad.read_h5ad(tmp_path / "counts.h5ad", backed="r")
    np.testing.assert_array_equal(read_counts(sdata, "counts", "spots").matrix.toarray(), TRUTH)


def test_genes_in_the_order_asked_and_totals_over_all() -> None:
    found = read_counts(holding(TRUTH, ["a", "b", "c"]), "counts", "spots", genes=["G3", "G1"])
    np.testing.assert_array_equal(found.matrix.toarray(), TRUTH[:, [2, 0]])
    np.testing.assert_array_equal(found.totals, TRUTH.sum(axis=1))
    assert found.genes == ("G3", "G1")


def test_a_layer_instead_of_x() -> None:
    sdata = holding(np.log1p(TRUTH), ["a", "b", "c"])
    with pytest.raises(PixnetValueError, match="layer='counts'"):
        read_counts(sdata, "counts", "spots")
    sdata.tables["counts"].layers["raw"] = TRUTH
    np.testing.assert_array_equal(read_counts(sdata, "counts", "spots", layer="raw").matrix.toarray(), TRUTH)
    with pytest.raises(PixnetKeyError, match=r"it has \['raw'\]"):
        read_counts(sdata, "counts", "spots", layer="nonsense")


def test_only_the_rows_of_the_region() -> None:
    sdata = holding(TRUTH, ["a", "b", "c"])
    both = sdata.tables["counts"].copy()
    both.obs["region"] = pd.Categorical(["spots", "other", "spots"])
    del both.uns["spatialdata_attrs"]
    sdata.tables["counts"] = TableModel.parse(
        both, region=["spots", "other"], region_key="region", instance_key="instance_id"
    )
    np.testing.assert_array_equal(read_counts(sdata, "counts", "spots").matrix.toarray(), TRUTH[[0, 2]])


@pytest.mark.parametrize(
    ("values", "instances", "message"),
    [
        (-TRUTH, ["a", "b", "c"], "looks normalized"),
        (np.where(TRUTH == 7, np.nan, TRUTH), ["a", "b", "c"], "1 NaN or infinite"),
        (TRUTH, ["a", "b", "x"], r"1 of 3 rows.*\['x'\]"),
        (TRUTH, [0, 1, 2], r"3 of 3 rows.*int64.*(object|str)"),
        (TRUTH, ["a", "b", "b"], r"several rows.*\['b'\]"),
    ],
)
def test_doubtful_tables_are_refused(values: np.ndarray, instances: list, message: str) -> None:
    with pytest.raises(PixnetValueError, match=message):
        read_counts(holding(values, instances), "counts", "spots")


def test_missing_genes_are_named() -> None:
    with pytest.raises(PixnetKeyError, match=r"1 of 2 genes are not in table 'counts', e.g. \['MYC'\]"):
        read_counts(holding(TRUTH, ["a", "b", "c"]), "counts", "spots", genes=["G1", "MYC"])


def test_repeated_shapes_index_is_refused() -> None:
    with pytest.raises(PixnetValueError, match="repeats 1 values"):
        read_counts(holding(TRUTH, ["a", "b", "c"], ["a", "b", "b", "c"]), "counts", "spots")


def test_a_table_that_annotates_nothing_is_refused() -> None:
    sdata = holding(TRUTH, ["a", "b", "c"])
    sdata.tables["loose"] = TableModel.parse(ad.AnnData(TRUTH))
    with pytest.raises(PixnetValueError, match="annotates nothing"):
        read_counts(sdata, "loose", "spots")
    with pytest.raises(PixnetValueError, match="not the shapes 'cells'"):
        read_counts(sdata, "counts", "cells")


@pytest.mark.parametrize("given", [["B", "A"], ("B", "A"), pd.Index(["B", "A"]), pd.Series(["B", "A"]), iter("BA")])
def test_genes_are_a_list_whatever_held_them(given: Iterable[str]) -> None:
    assert asked_genes(given) == ["B", "A"]
    assert asked_genes(None) is None


def test_genes_that_name_none_one_string_or_one_twice_are_refused() -> None:
    empty: list[Iterable[str]] = [[], pd.Index([]), iter(())]
    for nothing in empty:
        with pytest.raises(PixnetValueError, match=r"genes=\[\] names no gene.*leave it out"):
            asked_genes(nothing)
    with pytest.raises(PixnetTypeError, match=r"'KRT8' is one string.*\['KRT8'\]"):
        asked_genes("KRT8")
    with pytest.raises(PixnetValueError, match=r"1 genes were asked for more than once: \['A'\]"):
        asked_genes(np.array(["A", "B", "A"]))
