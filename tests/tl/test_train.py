"""From measured sections to a model that predicts another one."""

import pytest
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetValueError


def test_a_model_trained_on_bins_predicts_another_section(toy: SpatialData) -> None:
    other = ps.datasets.toy(1, size_px=512)
    ps.pp.select_genes(other, "bins_8um_counts", n=20)
    model = ps.tl.train(other, table_key="bins_8um_counts", name="bins", progress=False)
    assert len(model.genes) == 20
    ps.tl.predict(toy, "he", model=model, progress=False)
    ps.tl.aggregate(toy, "bins_8um")
    scores = ps.tl.evaluate(toy, "bins_8um_expression", "bins_8um_counts")
    assert scores.attrs["PCC@M"] > 0.15
    assert toy["bins_8um_expression"].var["score"].notna().all()
    assert toy["bins_8um_expression"].uns["pixnet_sd"]["statistic"] == "mean"


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
        ps.tl.train(toy, table_key="spots_counts")
