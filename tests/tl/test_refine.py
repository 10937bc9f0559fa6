"""A map that is fitted to counts of its own section."""

from pathlib import Path

import numpy as np
import pytest
from spatialdata import SpatialData, deepcopy

import pixnet_sd as ps

PROGRAMS, LOADINGS = "truth_refined_programs", "truth_refined_programs_loadings"
TABLE = "bins_8um_counts"


@pytest.fixture(scope="module")
def refined(toy_section: SpatialData) -> SpatialData:
    """A section whose map has wrong loadings and is fitted to its bins; read only."""
    sdata = deepcopy(toy_section)
    loadings = sdata.tables["truth_loadings"]
    loadings.X = loadings.X * np.random.default_rng(0).gamma(1, 1, loadings.shape).astype(np.float32)
    ps.tl.refine(sdata, TABLE, raster_key="truth")
    return sdata


def test_a_refined_map_is_pooled_like_any_other(refined: SpatialData) -> None:
    nuclei = ps.tl.aggregate(refined, "cells", raster_key=PROGRAMS, inplace=False)
    genes = ps.tl.aggregate(refined, "cells", raster_key="truth_refined_expression", inplace=False)
    np.testing.assert_allclose(nuclei.X, genes.X, rtol=1e-4)
    assert nuclei.uns["pixnet_sd"]["unit"] == "counts"


def test_counts_add_up_to_those_of_the_section(refined: SpatialData) -> None:
    bins = ps.tl.aggregate(refined, "bins_8um", raster_key=PROGRAMS, inplace=False)
    assert np.nansum(bins.X) == pytest.approx(refined.tables[TABLE].X.sum(), rel=0.1)


def test_each_gene_says_what_held_out_shapes_showed(refined: SpatialData) -> None:
    var = refined.tables[LOADINGS].var
    scores = var[["heldout_plain", "heldout_smoothed", "heldout_refined"]]
    assert scores.notna().all().all()
    assert var["heldout_refined"].mean() > var["heldout_plain"].mean()
    assert var["refined"].mean() > 0.5
    assert (var["refined"] <= (var["heldout_refined"] >= var["heldout_plain"])).all()


@pytest.mark.filterwarnings("ignore:Counts of table")
def test_exact_sums_are_the_counts(toy: SpatialData) -> None:
    genes = list(toy.tables[TABLE].var_names[:3])
    ps.tl.refine(toy, TABLE, raster_key="truth", genes=genes, exact=True, strength=0.1)
    summed = ps.tl.aggregate(toy, "bins_8um", raster_key=PROGRAMS, inplace=False)
    measured = np.asarray(toy.tables[TABLE][:, genes].X.todense())
    used = np.asarray(toy.tables[TABLE].X.sum(axis=1)).ravel() > 0
    np.testing.assert_allclose(summed.X[used], measured[used], rtol=2e-6, atol=1e-6)


def test_counts_of_other_shapes_are_warned_of(toy: SpatialData) -> None:
    rows = np.random.default_rng(0).permutation(toy.tables[TABLE].n_obs)
    toy.tables[TABLE].X = toy.tables[TABLE].X[rows]
    with pytest.warns(ps.PixnetWarning, match="do not fit the map"):
        ps.tl.refine(toy, TABLE, raster_key="truth", strength=0.3)
    assert not toy.tables[LOADINGS].var["refined"].any()


@pytest.mark.filterwarnings("ignore:Counts of table")
def test_failed_shapes_have_no_influence(toy: SpatialData) -> None:
    table = toy.tables[TABLE]
    table.obs["bad"] = np.arange(table.n_obs) % 7 == 0
    results = []
    for factor in (1, 50):
        changed = deepcopy(toy)
        scale = np.where(table.obs["bad"], factor, 1)
        changed.tables[TABLE].X = table.X.multiply(scale[:, None]).tocsr()
        found = ps.tl.refine(changed, TABLE, raster_key="truth", failed="bad", strength=0.1, inplace=False)
        results.append(np.asarray(found.data[:2].compute()))
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.filterwarnings("ignore:Counts of table")
def test_results_of_a_store_are_read_again(toy: SpatialData, tmp_path: Path) -> None:
    toy.write(tmp_path / "toy.zarr")
    ps.tl.refine(toy, TABLE, raster_key="truth", strength=0.1)
    again = SpatialData.read(tmp_path / "toy.zarr")
    one, other = (ps.tl.aggregate(each, "cells", raster_key=PROGRAMS, inplace=False) for each in (toy, again))
    np.testing.assert_array_equal(one.X, other.X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"raster_key": "he"}, "Only a map of programs"),
        ({"raster_key": "truth", "strength": -1.0}, "strength must be"),
        ({"raster_key": "truth", "exact": True}, "name them with genes"),
        ({"raster_key": "truth", "genes": ["nothing"]}, "nothing"),
        ({"raster_key": "truth", "failed": "nothing"}, "failed"),
    ],
)
def test_what_cannot_be_refined_is_told(toy_section: SpatialData, arguments: dict, message: str) -> None:
    with pytest.raises(ps.PixnetError, match=message):
        ps.tl.refine(toy_section, TABLE, inplace=False, **arguments)


def test_normalized_counts_are_refused(toy: SpatialData) -> None:
    toy.tables[TABLE].X = toy.tables[TABLE].X * 0.37
    with pytest.raises(ps.PixnetError, match="Raw counts are needed"):
        ps.tl.refine(toy, TABLE, raster_key="truth")
