"""What people do next: tables and maps go straight into scanpy, squidpy and spatialdata, and mean something there."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import spatialdata as sd
import squidpy as sq
from anndata import AnnData
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score
from spatialdata import SpatialData

import pixnet_sd as ps

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SHAPES = ("cells", "spots", "bins_8um")


@pytest.fixture(scope="module")
def section(learnt: ps.Model) -> SpatialData:
    """A section with a map from a model that was trained on another one, and tables of its shapes."""
    section = ps.datasets.toy(0, size_px=512)
    ps.tl.predict(section, "he", model=learnt, progress=False)
    for shapes in SHAPES:
        ps.tl.aggregate(section, shapes, raster_key="he_programs")
    return section


@pytest.fixture(scope="module")
def cells(section: SpatialData) -> AnnData:
    """Predicted cells after the usual steps, with the types that they truly have."""
    cells = section["cells_expression"].copy()
    cells.obs["cell_type"] = pd.Categorical(section["cells"].loc[cells.obs["instance_id"], "cell_type"])
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.pca(cells, n_comps=10)
    sc.pp.neighbors(cells)
    sc.tl.leiden(cells, resolution=0.5, flavor="igraph", n_iterations=2)
    return cells


def test_totals_after_normalisation_are_what_was_asked(cells: AnnData) -> None:
    assert np.expm1(cells.X).sum(axis=1) == pytest.approx(1e4, rel=1e-3)


def test_clusters_of_predicted_cells_agree_with_their_types(cells: AnnData) -> None:
    types, clusters = cells.obs["cell_type"], cells.obs["leiden"]
    shuffled = [adjusted_rand_score(np.random.default_rng(k).permutation(types), clusters) for k in range(20)]
    assert max(shuffled) < 0.1
    assert adjusted_rand_score(types, clusters) > 0.25


def test_genes_rank_as_they_do_in_truth(cells: AnnData, section: SpatialData) -> None:
    """A gene's score in a type of cells follows how many times more of it there truly is in that type."""
    sc.tl.rank_genes_groups(cells, "cell_type", method="wilcoxon")
    true = ps.tl.aggregate(section, "cells", raster_key="truth", inplace=False)[cells.obs_names, cells.var_names].copy()
    sc.pp.normalize_total(true)
    scores, folds = [], []
    for one in cells.obs["cell_type"].cat.categories:
        inside = (cells.obs["cell_type"] == one).to_numpy()
        ranked = sc.get.rank_genes_groups_df(cells, one).set_index("names").loc[cells.var_names]
        scores.append(ranked["scores"])
        folds.append(np.log((true.X[inside].mean(axis=0) + 1e-3) / (true.X[~inside].mean(axis=0) + 1e-3)))
    assert spearmanr(np.concatenate(scores), np.concatenate(folds)).statistic > 0.3


def test_neighborhoods_show_that_cells_of_a_type_lie_together(cells: AnnData) -> None:
    sq.gr.spatial_neighbors(cells, coord_type="generic", n_neighs=6)
    sq.gr.nhood_enrichment(cells, "cell_type", n_perms=50, seed=0, show_progress_bar=False)
    z = cells.uns["cell_type_nhood_enrichment"]["zscore"]
    assert np.diag(z).min() > 3
    assert (z[~np.eye(len(z), dtype=bool)] < np.diag(z).min()).all()


def test_a_predicted_gene_has_structure_that_a_shuffled_one_lacks(cells: AnnData) -> None:
    order = np.random.default_rng(0).permutation(cells.n_obs)
    both = AnnData(np.hstack([cells.X, cells.X[order]]), obsm={"spatial": cells.obsm["spatial"]})
    sq.gr.spatial_neighbors(both, coord_type="generic", n_neighs=6)
    sq.gr.spatial_autocorr(both, mode="moran", genes=list(both.var_names), n_perms=None, n_jobs=1)
    moran = both.uns["moranI"]["I"].loc[both.var_names].to_numpy()
    assert moran[: cells.n_vars].min() > np.abs(moran[cells.n_vars :]).max()


def test_spatialdata_matches_rows_to_shapes(section: SpatialData) -> None:
    for shapes in SHAPES:
        elements, table = sd.match_element_to_table(section, shapes, f"{shapes}_expression")
        assert len(elements[shapes]) == table.n_obs == len(section[shapes])
        assert list(elements[shapes].index) == list(table.obs["instance_id"])
        in_um = sd.transform(elements[shapes], to_coordinate_system="micrometers").centroid
        assert table.obsm["spatial"] == pytest.approx(np.c_[in_um.x, in_um.y], abs=1e-3)


def test_a_crop_keeps_the_rows_of_its_cells(section: SpatialData) -> None:
    kept = {name: section[name] for name in ("he_expression", "cells", "cells_expression")}
    crop = sd.bounding_box_query(
        SpatialData.init_from_elements(kept),
        axes=("x", "y"),
        min_coordinate=[50, 50],
        max_coordinate=[200, 180],
        target_coordinate_system="micrometers",
    )
    assert 0 < crop["cells_expression"].n_obs < section["cells_expression"].n_obs
    assert set(crop["cells_expression"].obs["instance_id"]) == set(crop["cells"].index)
    inside = ps.tl.aggregate(crop, "cells", raster_key="he_expression", statistic="mean", inplace=False)
    whole = ps.tl.aggregate(section, "cells", raster_key="he_expression", statistic="mean", inplace=False)
    covered = inside.obs["coverage"].to_numpy() > 1 - 1e-9
    assert covered.sum() > 50
    assert inside.X[covered] == pytest.approx(whole[inside.obs_names].X[covered], rel=1e-4)


@pytest.mark.parametrize(("shapes", "least"), [("bins_8um", 0.2), ("spots", 0.3)])
def test_scores_against_what_was_measured(section: SpatialData, shapes: str, least: float) -> None:
    """And none where the same predictions are handed to other shapes."""
    assert ps.tl.evaluate(section, f"{shapes}_expression", f"{shapes}_counts").attrs["PCC@M"] > least
    by_chance = []
    for seed in range(6):
        section["mixed"] = section[f"{shapes}_expression"].copy()
        section["mixed"].X = np.random.default_rng(seed).permutation(section["mixed"].X)
        by_chance.append(ps.tl.evaluate(section, "mixed", f"{shapes}_counts").attrs["PCC@M"])
        del section["mixed"]
    assert np.mean(by_chance) < least / 2
