"""From measured sections to a model that predicts another one."""

from pathlib import Path
from typing import Any

import pytest
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError, PixnetWarning
from pixnet_sd._settings import logger
from pixnet_sd.nn.device import best_device
from pixnet_sd.tl._train import resolve_device


def test_a_model_trained_on_bins_predicts_another_section(toy: SpatialData, learnt: ps.Model) -> None:
    assert (len(learnt.genes), learnt.card.name) == (24, "bins")
    ps.tl.predict(toy, "he", model=learnt, progress=False)
    ps.tl.aggregate(toy, "bins_8um")
    scores = ps.tl.evaluate(toy, "bins_8um_expression", "bins_8um_counts")
    assert scores.attrs["PCC@M"] > 0.4
    assert toy["bins_8um_expression"].var["score"].notna().sum() > 15
    assert toy["bins_8um_expression"].uns["pixnet_sd"]["statistic"] == "sum"
    genes = list(learnt.genes)
    counts = toy["bins_8um_expression"][:, genes].X.sum() / toy["bins_8um_counts"][:, genes].X.sum()
    assert 0.7 < counts < 1.4


def test_a_ridge_trained_on_bins_predicts_another_section(toy: SpatialData) -> None:
    other = ps.datasets.toy(1, size_px=512)
    model = ps.tl.train(other, table_key="bins_8um_counts", method="ridge", progress=False)
    ps.tl.predict(toy, "he", model=model, overwrite=True, progress=False)
    ps.tl.aggregate(toy, "bins_8um", overwrite=True)
    assert ps.tl.evaluate(toy, "bins_8um_expression", "bins_8um_counts").attrs["PCC@M"] > 0.15
    assert toy["bins_8um_expression"].uns["pixnet_sd"]["statistic"] == "mean"


def test_more_sections_validate_and_a_model_is_trained_further() -> None:
    one, other = ps.datasets.toy(1, size_px=512), ps.datasets.toy(2, size_px=512)
    few = ps.TrainConfig(steps=20)
    model = ps.tl.train(one, table_key="bins_8um_counts", config=few, validation=other, progress=False)
    assert model.card.validation == "1 section(s), which chose the epoch"
    further = ps.tl.train(other, table_key="bins_8um_counts", config=few, model=model, validation=None, progress=False)
    assert further.genes == model.genes
    assert further.card.scores == {}
    with pytest.raises(PixnetValueError, match="another network"):
        ps.tl.train(other, model=model, config=ps.TrainConfig(members=2))


def test_shapes_of_several_sizes_are_learnt_from_together_and_members_say_where_they_differ() -> None:
    one, other = (ps.datasets.toy(seed, size_px=256, bins_um=(2.0, 8.0, 16.0)) for seed in (1, 2))
    several = ps.TrainConfig(steps=300, members=2)
    keys = ["bins_2um", "bins_8um", "bins_16um"]
    model = ps.tl.train(one, shapes_key=keys, config=several, validation=None, progress=False)
    assert model.card.data.startswith("1 section(s), ")
    ps.tl.predict(other, "he", model=model, progress=False)
    ps.tl.aggregate(other, "bins_16um", uncertainty=True, progress=False)
    ps.tl.predict_shapes(other, "bins_8um", model=model, image_key="he", uncertainty=True, progress=False)
    ps.tl.aggregate(other, "bins_8um", uncertainty=True, key_added="again", progress=False)
    genes = list(other["again"].var_names[:2])
    few = ps.tl.aggregate(other, "bins_8um", uncertainty=True, genes=genes, inplace=False, progress=False)
    again = other["again"]
    assert_close(few.layers["sd"], again[:, genes].layers["sd"], of=again.X)
    assert ps.tl.evaluate(other, "bins_16um_expression", "bins_16um_counts").attrs["PCC@M"] > 0.2
    assert_close(other["bins_8um_expression"].layers["sd"], again.layers["sd"], of=again.X)
    table = other["bins_16um_expression"]
    assert (table.layers["sd"] > 0).all()
    assert table.layers["sd"].mean() < table.X.mean()


def test_one_member_has_no_spread_and_shapes_need_one_table(toy: SpatialData) -> None:
    with pytest.raises(PixnetValueError, match=r"uncertainty=True needs .* from 0 member"):
        ps.tl.aggregate(toy, "cells", raster_key="he", uncertainty=True, inplace=False)
    with pytest.raises(PixnetKeyError, match="tables that annotate shapes 'cells'"):
        ps.tl.train(toy, shapes_key=["cells"])
    with pytest.raises(PixnetValueError, match="not both"):
        ps.tl.train(toy, shapes_key="spots", table_key="spots_counts")


def test_an_image_coarser_than_the_model_is_refused() -> None:
    coarse = ps.datasets.toy(size_px=256, mpp=1.0)
    with pytest.raises(PixnetValueError, match="1 µm per pixel, the model reads 0.5"):
        ps.tl.train(coarse, table_key="bins_8um_counts", progress=False)


def test_what_cannot_be_is_refused(toy: SpatialData) -> None:
    with pytest.raises(PixnetValueError, match="list of sections is empty"):
        ps.tl.train([])
    with pytest.raises(PixnetKeyError, match="NOGENE"):
        ps.tl.train(toy, table_key="spots_counts", genes=["NOGENE"])
    with pytest.raises(PixnetValueError, match="at least 10 are needed"):
        ps.tl.train(toy, table_key="spots_counts", progress=False)
    with pytest.raises(PixnetValueError, match="method must be one of"):
        ps.tl.train(toy, table_key="spots_counts", method="forest")  # type: ignore[arg-type]
    with pytest.raises(PixnetTypeError, match="got str"):
        ps.tl.train("slide.zarr")
    with pytest.raises(PixnetValueError, match="leave it out for all"):
        ps.tl.train(toy, genes=[])
    with pytest.raises(PixnetValueError, match="validation must be"):
        ps.tl.train(toy, table_key="bins_8um_counts", validation="half")


def test_genes_may_be_an_index_and_a_ridge_refuses_what_only_epochs_can_use(tmp_path: Path) -> None:
    section = ps.datasets.toy(1, size_px=256)
    how: dict[str, Any] = {"table_key": "bins_8um_counts", "method": "ridge", "progress": False}
    with pytest.warns(PixnetWarning, match="section 1 is too small to leave out corners of it"):
        model = ps.tl.train(section, genes=section["bins_8um_counts"].var_names[:3], validation=None, **how)
    assert model.card.scores == {}
    assert list(model.genes) == section["bins_8um_counts"].var_names[:3].tolist()
    with pytest.raises(PixnetValueError, match="cannot use checkpoint: its scores come from leaving out each section"):
        ps.tl.train(section, checkpoint=tmp_path / "run", **how)
    with pytest.raises(PixnetValueError, match='Leave out validation, or pass method="pixnet"'):
        ps.tl.train(section, validation=section, **how)
    with pytest.raises(PixnetValueError, match="cannot use validation and checkpoint"):
        ps.tl.train(section, validation="half", checkpoint=tmp_path / "run", **how)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("others", [0, 1])
def test_a_section_that_is_learnt_from_cannot_validate(others: int) -> None:
    section, more = ps.datasets.toy(1, size_px=256), [ps.datasets.toy(2, size_px=256)]
    with pytest.raises(PixnetValueError, match=r"validation \d is section 1.*must not be scored"):
        ps.tl.train(section, table_key="bins_8um_counts", validation=[*more[:others], section], progress=False)
    with pytest.raises(PixnetValueError, match=r"section 1 is section 2.*Give each section once"):
        ps.tl.train([section, section], table_key="bins_8um_counts", method="ridge", progress=False)


def test_a_table_without_counts_of_the_genes_is_refused_before_the_training() -> None:
    section = ps.datasets.toy(1, size_px=256)
    table = section["bins_8um_counts"]
    counts = table.X.toarray()
    counts[:, :2] = 0
    table.X = counts
    few = list(table.var_names[:2])
    with pytest.raises(PixnetValueError, match=r"'bins_8um_counts' has no counts of the 2 genes, e\.g\. .* in its"):
        ps.tl.train(section, table_key="bins_8um_counts", genes=few, progress=False)


def test_the_fastest_device_is_taken_and_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    assert resolve_device(None) == best_device()
    assert resolve_device("cpu") == "cpu"
    assert {record.getMessage() for record in caplog.records} == {f"training on device {best_device()!r}"}
