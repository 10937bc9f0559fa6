"""What is compared is what `tl.evaluate` scores."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import shapely
from pl.sections import IDENTITY
from spatialdata import SpatialData

from pixnet_sd import pl
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd.pl._draw.profiles import read_profiles
from pixnet_sd.tl._evaluate import evaluate

compare = partial(pl.compare, measured_key="counts", predicted_key="predicted")


@pytest.fixture
def sdata() -> SpatialData:
    """Twelve bins; five of eight measured genes are predicted; bin 0 has no counts, bin 1 no prediction."""
    random = np.random.default_rng(0)
    x, y = np.indices((4, 3)).reshape(2, -1) * 16.0
    index = pd.RangeIndex(12)
    expected = random.gamma(2, 20, (12, 8))
    counts, predicted = random.poisson(expected).astype(float), expected[:, :5].astype(np.float32)
    counts[0], predicted[1] = 0, np.nan
    genes = pd.Index([f"G{k}" for k in range(8)])
    table = build.make_table(predicted, pd.DataFrame(index=genes[:5]), "bins", index)
    table.uns["pixnet_sd"] = {"unit": "counts"}
    return build.make_section(
        {
            "he": build.make_image(np.full((3, 64, 64), 200, np.uint8), ["r", "g", "b"], IDENTITY),
            "bins": build.make_polygons(shapely.box(x, y, x + 16, y + 16), index, IDENTITY),
            "counts": build.make_table(counts, pd.DataFrame(index=genes), "bins", index),
            "predicted": table,
        },
        {},
        {},
    )


@pytest.mark.parametrize("unit", ["counts", "log1p"])
def test_pearson_is_that_of_evaluate(sdata: SpatialData, unit: str) -> None:
    scores = evaluate(sdata, "predicted", "counts", unit=unit)
    for gene in scores.index:
        found = read_profiles(sdata, gene, "predicted", "counts", None, None, unit)
        assert found.pearson == pytest.approx(scores.loc[gene, "pearson"])
        assert found.compared.sum() == 10


def test_both_maps_have_the_same_color_bar(sdata: SpatialData) -> None:
    sdata["counts"].X[3, 1] *= 1000
    axes = compare(sdata, "G1")
    measured, predicted = (ax.child_axes[-1] for ax in axes[:2])
    assert measured.get_ylim() == predicted.get_ylim()
    assert len(measured.patches) == len(predicted.patches) > 0


def test_three_panels_name_what_they_are(sdata: SpatialData) -> None:
    axes = compare(sdata, "G1")
    assert [ax.get_title() for ax in axes[:2]] == ["G1 measured", "G1 predicted"]
    assert axes[2].get_title().startswith("Pearson ")
    assert axes[2].get_title().endswith("10 shapes")


def test_both_maps_share_a_scale_and_the_scatter_holds_the_same_numbers(sdata: SpatialData) -> None:
    measured, predicted, scatter = compare(sdata, "G2")
    assert measured.child_axes[0].get_ylim() == predicted.child_axes[0].get_ylim()
    found = read_profiles(sdata, "G2", "predicted", "counts", None, None, None)
    points = np.column_stack([found.measured, found.predicted])[found.compared]
    np.testing.assert_array_equal(scatter.collections[0].get_offsets(), points)


def test_genes_and_tables_that_are_not_there(sdata: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match="'G7' is not in table 'predicted'"):
        compare(sdata, "G7")
    with pytest.raises(PixnetKeyError, match="predicted_key='nothing'"):
        pl.compare(sdata, "G1", predicted_key="nothing", measured_key="counts")
    with pytest.raises(PixnetTypeError, match=r"One gene .* got \['G1', 'G2'\]"):
        compare(sdata, ["G1", "G2"])  # type: ignore[arg-type]


def test_a_prediction_of_unknown_unit_is_refused(sdata: SpatialData) -> None:
    del sdata.tables["predicted"].uns["pixnet_sd"]
    with pytest.raises(PixnetValueError, match="does not state its unit"):
        compare(sdata, "G1")
    compare(sdata, "G1", unit="counts")
