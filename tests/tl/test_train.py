"""From measured sections to a model that predicts another one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
import tiny
from precision import assert_close
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError, PixnetWarning
from pixnet_sd._raster.grid import Window
from pixnet_sd._settings import logger
from pixnet_sd.nn.device import best_device
from pixnet_sd.tl._slides import ReadOptions, find_measured_sections, read_slide
from pixnet_sd.tl._train import marked_genes, resolve_device, resolve_mpp


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
    few = ps.TrainConfig(network=tiny.STAIN, steps=20)
    model = ps.tl.train(one, table_key="bins_8um_counts", config=few, validation=other, progress=False)
    assert model.card.validation == "1 section(s), which chose the epoch"
    further = ps.tl.train(other, table_key="bins_8um_counts", config=few, model=model, validation=None, progress=False)
    assert further.genes == model.genes
    assert further.card.scores == {}
    with pytest.raises(PixnetValueError, match="another network"):
        ps.tl.train(other, model=model, config=ps.TrainConfig(network=tiny.STAIN, members=2))


def test_shapes_of_several_sizes_are_learnt_from_together_and_members_say_where_they_differ() -> None:
    one, other = (ps.datasets.toy(seed, size_px=256, bins_um=(2.0, 8.0, 16.0)) for seed in (1, 2))
    several = ps.TrainConfig(network=tiny.STAIN, steps=300, members=2)
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
    with pytest.raises(PixnetValueError, match=r"0 of the tables \['bins_8um_counts'\] annotate the shapes 'spots'"):
        ps.tl.train(toy, shapes_key="spots", table_key="bins_8um_counts")


def test_the_model_reads_what_the_coarsest_image_has_or_what_it_is_told() -> None:
    config = ps.TrainConfig()
    own = config.network.mpp
    images = [own / 2, 2 * own]
    assert resolve_mpp(config, None, images[:1], None, False) == config
    assert resolve_mpp(config, None, images, None, False).network.mpp == 2 * own
    assert resolve_mpp(config, None, images, None, True) == config
    assert resolve_mpp(config, 3 * own, images, None, False).network.mpp == 3 * own
    with pytest.raises(PixnetValueError, match=r"mpp.* positive"):
        resolve_mpp(config, -1.0, images, None, False)


def test_an_image_coarser_than_asked_is_refused_and_a_model_keeps_its_scale() -> None:
    coarse = ps.datasets.toy(size_px=256, mpp=1.0)
    model = ps.tl.train(
        coarse,
        table_key="bins_8um_counts",
        config=ps.TrainConfig(network=tiny.STAIN, steps=1),
        validation=None,
        progress=False,
    )
    assert model.mpp == 1.0
    with pytest.raises(PixnetValueError, match="1 µm per pixel, the model reads 0.5"):
        ps.tl.train(coarse, mpp=0.5, table_key="bins_8um_counts", progress=False)
    with pytest.raises(PixnetValueError, match="keeps its µm per pixel, 1; got mpp=2"):
        ps.tl.train(coarse, model=model, mpp=2.0, table_key="bins_8um_counts")


def test_marks_of_scanpy_are_taken_over_and_those_of_select_genes_first(caplog: pytest.LogCaptureFixture) -> None:
    section = ps.datasets.toy(1, size_px=256)
    var = section["bins_8um_counts"].var
    (found,) = find_measured_sections([section], None, "bins_8um", None)
    assert marked_genes(found) == list(var.index)
    var["highly_variable"] = np.arange(len(var)) < 3
    logger.addHandler(caplog.handler)
    assert marked_genes(found) == list(var.index[:3])
    assert "the 3 genes that are 'highly_variable' in table 'bins_8um_counts' are modelled" in caplog.text
    var["selected"] = np.arange(len(var)) < 2
    assert marked_genes(found) == list(var.index[:2])
    var["selected"] = [None, True] * (len(var) // 2)
    with pytest.raises(PixnetValueError, match="must be True or False"):
        marked_genes(found)


def test_a_concatenated_object_holds_the_sections_that_it_was_made_of() -> None:
    sections = [ps.datasets.toy(seed, size_px=256) for seed in (1, 2)]
    apart = read_all(sections, None, "bins_8um", None)
    for together in (False, True):
        joined = sd.concatenate(dict(zip("ab", sections, strict=True)), concatenate_tables=together)
        shapes = ["bins_8um-a", "bins_8um-b"]
        tables = "bins_8um_counts" if together else ["bins_8um_counts-a", "bins_8um_counts-b"]
        for keys in (
            (None, shapes, None),
            (None, None, tables),
            (None, shapes, tables),
            (["he-a", "he-b"], shapes, None),
        ):
            assert read_all([joined], *keys) == apart
    assert read_all([joined], "he-b", None, "bins_8um_counts") == apart[1:]
    model = ps.tl.train(
        joined, shapes_key=shapes, config=ps.TrainConfig(network=tiny.STAIN, steps=1), validation=None, progress=False
    )
    assert model.card.data.startswith("2 section(s), ")


def read_all(objects: list[SpatialData], *keys: Any) -> list[tuple[float, bytes, bytes]]:
    genes = list(objects[0].tables.values())[0].var_names
    how = ReadOptions(None, genes, 0.5, None, False)
    slides = [read_slide(section, "", how) for section in find_measured_sections(objects, *keys)]
    return [
        (one.mpp, np.asarray(one.picture.read(Window(0, 0, 256, 256))).tobytes(), one.measured[0].totals.tobytes())
        for one in slides
    ]


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
        ps.tl.train(toy, table_key="spots_counts", genes=[])
    with pytest.raises(PixnetTypeError, match=r"genes=250 is no list of names. pp.select_genes"):
        ps.tl.train(toy, table_key="spots_counts", genes=250)  # type: ignore[arg-type]
    with pytest.raises(PixnetTypeError, match="config must be a TrainConfig"):
        ps.tl.train(toy, config={"steps": 8})  # type: ignore[arg-type]
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


def test_the_default_network_needs_no_download_and_learns_that_glass_has_no_counts() -> None:
    """Its encoder is that of the bundled model."""
    assert ps.TrainConfig().network == ps.NetworkConfig() and ps.TrainConfig().used_views == 4
    section = ps.datasets.toy(size_px=768)
    few = ps.TrainConfig(steps=60)
    model = ps.tl.train(section, table_key="spots_counts", config=few, validation=None, device="cpu", progress=False)
    bundled = ps.Model.load("default").network.members[0].encoder.state_dict()
    own = model.network.members[0].encoder.state_dict()
    assert all((own[key] == bundled[key]).all() for key in own)
