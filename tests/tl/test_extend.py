"""Genes are added to a model whose programs stay as they are: the loadings are found, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import tiny
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._metrics.reliable import find_reliable
from pixnet_sd.nn.training.loadings import PooledSection, fit_loadings

PANEL = 12


@pytest.fixture(scope="module")
def sections() -> list[SpatialData]:
    return [ps.datasets.toy(seed, size_px=384) for seed in (1, 2)]


@pytest.fixture(scope="module")
def names(sections: list[SpatialData]) -> list[str]:
    return list(map(str, sections[0]["bins_8um_counts"].var_names))


@pytest.fixture(scope="module")
def panel(sections: list[SpatialData], names: list[str]) -> ps.Model:
    network = ps.NetworkConfig(encoder="stain", levels=None, mpp=0.5, stride=8, widths=(8,), context_um=(20.0,))
    config = ps.TrainConfig(network=network, steps=60, members=2)
    return ps.tl.train(
        sections[0], table_key="bins_8um_counts", genes=names[:PANEL], config=config, validation=None, progress=False
    )


@pytest.fixture(scope="module")
def larger(panel: ps.Model, sections: list[SpatialData]) -> ps.Model:
    return ps.tl.extend(panel, sections, table_key="bins_8um_counts", device="cpu")


def test_loadings_of_known_truth_are_found() -> None:
    random = np.random.default_rng(0)
    truth, library = random.gamma(0.5, 1.0, (6, 40)), np.full(6, 300.0)
    truth *= np.linspace(5, 40, 40) / truth.mean(axis=0)
    sections = []
    for depth in (0.7, 1.4):
        programs = random.gamma(1.0, 1.0, (400, 6)) / 6
        counts = random.poisson(depth * programs @ truth)
        sections.append(PooledSection(programs, sp.csr_array(counts), depth * programs @ library))
    found = fit_loadings(sections, library)
    assert min(np.corrcoef(found[:, gene], truth[:, gene])[0, 1] for gene in range(40)) > 0.95
    np.testing.assert_allclose(found.mean(axis=0), truth.mean(axis=0), rtol=0.1)


def test_a_gene_is_fitted_without_the_others() -> None:
    random = np.random.default_rng(1)
    programs, library = random.gamma(1.0, 1.0, (60, 3)), np.full(3, 50.0)
    counts = sp.csr_array(random.poisson(programs @ random.gamma(1.0, 1.0, (3, 7))))
    section = PooledSection(programs, counts, programs @ library)
    alone = PooledSection(programs, counts[:, [4]], section.totals)
    np.testing.assert_allclose(fit_loadings([alone], library)[:, 0], fit_loadings([section], library)[:, 4], rtol=1e-4)


def test_genes_without_counts_get_next_to_nothing_and_no_nan() -> None:
    programs, library = np.random.default_rng(2).gamma(1.0, 1.0, (50, 3)), np.full(3, 50.0)
    section = PooledSection(programs, sp.csr_array((50, 2), dtype=np.int64), programs @ library)
    found = fit_loadings([section], library)
    assert np.isfinite(found).all() and (found < 1e-6).all()


def test_old_genes_stay_to_the_bit(panel: ps.Model, larger: ps.Model, names: list[str]) -> None:
    assert larger.genes[:PANEL] == panel.genes and set(larger.genes) <= set(names)
    assert len(larger.genes) > PANEL
    np.testing.assert_array_equal(larger.loadings[:, :PANEL], panel.loadings)
    assert (larger.loadings >= 0).all()
    assert larger.library_size == panel.library_size


def test_new_genes_add_up_to_what_was_measured(larger: ps.Model, sections: list[SpatialData]) -> None:
    table = ps.tl.predict_shapes(sections[0], "bins_8um", model=larger, device="cpu", inplace=False)
    measured = sections[0]["bins_8um_counts"][:, list(larger.genes[PANEL:])].X
    assert 0.7 < np.nansum(table.X[:, PANEL:]) / measured.sum() < 1.4


def test_new_genes_have_both_scores(larger: ps.Model) -> None:
    new = larger.genes[PANEL:]
    assert set(larger.card.residuals) == set(new) and set(new) <= set(larger.card.scores)
    assert set(larger.card.reliable) & set(new)
    assert f"{len(new)} genes added from 2 section(s)" in larger.card.data


def test_an_extended_model_is_stored(larger: ps.Model, tmp_path: Path) -> None:
    larger.save(tmp_path / "model")
    again = ps.Model.load(tmp_path / "model")
    np.testing.assert_array_equal(again.loadings, larger.loadings)
    assert (again.card.residuals, tuple(again.card.reliable)) == (larger.card.residuals, tuple(larger.card.reliable))


def test_chosen_genes_of_one_section_are_scored_by_its_quarters(
    panel: ps.Model, sections: list[SpatialData], names: list[str]
) -> None:
    asked = names[PANEL : PANEL + 3]
    found = ps.tl.extend(panel, sections[1], genes=asked, table_key="bins_8um_counts", device="cpu", refit=True)
    assert set(found.genes) == {*names[:PANEL], *asked} and set(asked) <= set(found.card.scores)
    assert (found.select(panel.genes).loadings != panel.loadings).any()


def test_selected_genes_keep_their_loadings_and_scores(larger: ps.Model) -> None:
    chosen = larger.select(larger.genes[PANEL : PANEL + 2])
    np.testing.assert_array_equal(chosen.loadings, larger.loadings[:, PANEL : PANEL + 2])
    assert set(chosen.card.scores) <= set(chosen.genes)
    with pytest.raises(PixnetValueError, match="lacks 1"):
        larger.select(["NOGENE"])


def test_what_cannot_be_extended(panel: ps.Model, sections: list[SpatialData]) -> None:
    with pytest.raises(PixnetTypeError, match="must be a Model"):
        ps.tl.extend("default", sections)  # type: ignore[arg-type]
    with pytest.raises(PixnetValueError, match="Only models of rates"):
        ps.tl.extend(tiny.model(["A"], head="log"), sections)
    with pytest.raises(PixnetValueError, match="none of the model's 1 genes"):
        ps.tl.extend(tiny.model(["NOGENE"]), sections, table_key="bins_8um_counts")
    with pytest.raises(PixnetValueError, match="not in all sections"):
        ps.tl.extend(panel, sections, genes=["NOGENE"], table_key="bins_8um_counts")


def test_a_gene_is_reliable_if_it_beats_one_map_for_all() -> None:
    random = np.random.default_rng(0)
    common, own = random.normal(size=(300, 1)), random.normal(size=(300, 8))
    predicted = common + own
    measured = np.column_stack([own[:, :4] + random.normal(size=(300, 4)), common + random.normal(size=(300, 4))])
    np.testing.assert_array_equal(find_reliable([(predicted, measured)]), [True] * 4 + [False] * 4)
