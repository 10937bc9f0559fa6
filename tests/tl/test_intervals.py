"""Intervals cover new sections as they say, and members that disagree show it."""

import numpy as np
import pytest
import scipy.sparse as sp
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError, PixnetTypeError, PixnetValueError

PREDICTED, MEASURED = "bins_16um_expression", "bins_16um_counts"
LEVEL = 0.75


@pytest.fixture(scope="module")
def sections() -> list[SpatialData]:
    """The truth stands for a prediction: what is left is the noise of counting, alike in all sections."""
    made = [ps.datasets.toy(seed, size_px=384, bins_um=(16.0,)) for seed in range(6)]
    for one in made:
        ps.tl.aggregate(one, "bins_16um", raster_key="truth", progress=False)
    return made


def calibration(sections: list[SpatialData]) -> list[tuple[SpatialData, str, str]]:
    return [(one, PREDICTED, MEASURED) for one in sections]


def covered(sdata: SpatialData) -> float:
    table, counts = sdata[PREDICTED], sdata[MEASURED].X.toarray()
    known = counts.sum(axis=1) > 0
    profile = np.log1p(1e4 * counts[known] / counts[known].sum(axis=1, keepdims=True))
    inside = (profile >= table.layers["lower"][known]) & (profile <= table.layers["upper"][known])
    return float(inside.mean())


def test_new_sections_are_covered(sections: list[SpatialData]) -> None:
    shares = []
    for number in (0, 3):
        others = sections[:number] + sections[number + 1 :]
        ps.tl.intervals(sections[number], PREDICTED, calibration=calibration(others), level=LEVEL)
        shares.append(covered(sections[number]))
    assert np.mean(shares) > LEVEL - 0.02
    assert np.mean(shares) < LEVEL + 1 / 6 + 0.05


def test_too_few_sections_say_how_many_are_needed(sections: list[SpatialData]) -> None:
    with pytest.raises(PixnetValueError, match="needs at least 9 calibration sections; there are 2"):
        ps.tl.intervals(sections[0], PREDICTED, calibration=calibration(sections[1:3]), level=0.9)
    with pytest.raises(PixnetTypeError, match=r"must be a list of \(section, .*; got tuple of other things"):
        ps.tl.intervals(sections[0], PREDICTED, calibration=calibration(sections[1:2])[0])  # type: ignore[arg-type]


def test_log_expression_has_no_intervals(sections: list[SpatialData]) -> None:
    table = sections[5][PREDICTED].copy()
    table.uns["pixnet_sd"] = {**table.uns["pixnet_sd"], "unit": "log1p"}
    sections[5]["logs"] = table
    with pytest.raises(PixnetValueError, match="holds log expression"):
        ps.tl.intervals(sections[5], "logs", calibration=calibration(sections[:4]))


def test_a_table_of_another_package_needs_its_unit_and_may_be_sparse(sections: list[SpatialData]) -> None:
    first, others = sections[0], calibration(sections[1:4])
    table = first[PREDICTED].copy()
    table.X = sp.csr_matrix(table.X)
    del table.uns["pixnet_sd"]
    first["foreign"] = table
    with pytest.raises(PixnetValueError, match=r"'foreign' does not state its unit. Pass unit="):
        ps.tl.intervals(first, "foreign", calibration=others, level=LEVEL)
    found = ps.tl.intervals(first, "foreign", calibration=others, level=LEVEL, unit="counts", inplace=False)
    expected = ps.tl.intervals(first, PREDICTED, calibration=others, level=LEVEL, inplace=False)
    np.testing.assert_array_equal(found.layers["upper"], expected.layers["upper"])


def test_what_cannot_be_written_is_known_before_the_calibration(
    sections: list[SpatialData], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PixnetRuntimeError("read-only")

    monkeypatch.setattr("pixnet_sd.tl._intervals.check_results", refuse)
    with pytest.raises(PixnetRuntimeError, match="read-only"):
        ps.tl.intervals(sections[0], PREDICTED, calibration=[])
