"""Two tables of the same shapes are matched by instance id and gene name, whatever their order."""

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd._sdata.comparison import read_pair

IDENTITY = build.make_transformations({"global": np.eye(3)})
SPOTS = pd.Index(["a", "b", "c", "d"])
MEASURED = np.array([[1, 2, 0], [3, 4, 0], [5, 6, 9]])  # rows c, a, d; genes G1, G2, G9
PREDICTED = np.array([[20.0, 10.0, 0.5], [40.0, 30.0, 0.5], [60.0, 50.0, 0.5]])  # rows c, a, b; genes G2, G1, G0


def table(values: object, rows: list[str], genes: list[str], shapes: str = "spots") -> ad.AnnData:
    return build.make_table(values, pd.DataFrame(index=genes), shapes, pd.Index(rows))


def holding(predicted: ad.AnnData, measured: ad.AnnData) -> SpatialData:
    elements = {
        name: build.make_circles(np.arange(8.0).reshape(-1, 2), 1.0, SPOTS, IDENTITY) for name in ("spots", "other")
    }
    return build.make_section({**elements, "predicted": predicted, "measured": measured}, {}, {})


def usual(storage=np.asarray) -> SpatialData:
    predicted = table(storage(PREDICTED), ["c", "a", "b"], ["G2", "G1", "G0"])
    predicted.uns["pixnet_sd"] = {"unit": "counts"}
    return holding(predicted, table(MEASURED, ["c", "a", "d"], ["G1", "G2", "G9"]))


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix, lambda x: da.from_array(x, chunks=2)])
def test_rows_by_id_and_genes_by_name(storage) -> None:
    pair = read_pair(usual(storage), "predicted", "measured")
    assert pair.genes == ("G2", "G1")
    np.testing.assert_array_equal(pair.predicted, [[40, 30], [20, 10]])  # a, c: the order of the shapes
    np.testing.assert_array_equal(pair.counts.toarray(), [[4, 3], [2, 1]])
    np.testing.assert_array_equal(pair.totals, [7, 3])
    assert (pair.shapes_key, pair.rows_unmatched, pair.genes_missing) == ("spots", 2, 1)


def test_some_of_the_shapes() -> None:
    pair = read_pair(usual(), "predicted", "measured").of_shapes(np.array([False, True]))
    assert (pair.predicted.tolist(), pair.counts.toarray().tolist(), pair.totals.tolist()) == (
        [[20, 10]],
        [[2, 1]],
        [3],
    )


def test_other_names_are_refused_with_examples() -> None:
    sdata = holding(table(PREDICTED, ["a", "b", "c"], ["ENSG01", "ENSG02", "G1"]), usual().tables["measured"])
    with pytest.raises(PixnetValueError, match=r"Only 1 genes .*3 genes, e.g. \['ENSG01'.*'G9'\].*at least 50%"):
        read_pair(sdata, "predicted", "measured")
    assert read_pair(sdata, "predicted", "measured", genes=["G1"]).genes == ("G1",)


@pytest.mark.parametrize(("gene", "where"), [("G9", "predicted"), ("G0", "measured")])
def test_a_gene_asked_for_must_be_in_both(gene: str, where: str) -> None:
    with pytest.raises(PixnetKeyError, match=f"1 of 1 genes are not in table '{where}'"):
        read_pair(usual(), "predicted", "measured", genes=[gene])


def test_tables_of_different_shapes_are_refused() -> None:
    sdata = holding(table(PREDICTED, ["a", "b", "c"], ["G1", "G2", "G3"], "other"), usual().tables["measured"])
    with pytest.raises(PixnetValueError, match=r"no shapes element in common: \['other'\] against \['spots'\]"):
        read_pair(sdata, "predicted", "measured")
    with pytest.raises(PixnetKeyError, match="shapes_key='other' is not among"):
        read_pair(usual(), "predicted", "measured", "other")
    with pytest.raises(PixnetKeyError, match="measured_key='nonsense' is not among"):
        read_pair(usual(), "predicted", "nonsense")
