"""`pp.mpp` says what is known, records what is told, and refuses two sources at once."""

import pytest
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetKeyError, PixnetTypeError, PixnetValueError, PixnetWarning
from pixnet_sd._sdata import units


def test_from_a_coordinate_system_and_from_the_pitch(toy: SpatialData) -> None:
    assert ps.pp.mpp(toy, coordinate_system="micrometers") == pytest.approx(0.5)
    assert ps.pp.mpp(toy, spots_key="spots", pitch_um=100) == pytest.approx(0.5, rel=1e-6)


def test_an_explicit_value_is_recorded_and_a_difference_warns(toy: SpatialData) -> None:
    with pytest.warns(PixnetWarning, match="differs between its sources"):
        assert ps.pp.mpp(toy, mpp=0.6) == 0.6
    with pytest.warns(PixnetWarning, match="0.6 by what pp.mpp recorded"):
        assert units.image_mpp(toy, "he") == pytest.approx(0.6)


def test_not_in_place_records_nothing(toy: SpatialData) -> None:
    with pytest.warns(PixnetWarning):
        ps.pp.mpp(toy, mpp=0.6, inplace=False)
    assert units.image_mpp(toy, "he") == pytest.approx(0.5)


def test_two_sources_and_half_a_source_are_refused(toy: SpatialData) -> None:
    for wrong in ({"mpp": 0.5, "coordinate_system": "global"}, {"spots_key": "spots"}, {"pitch_um": 100.0}):
        with pytest.raises(PixnetValueError, match="Give one source"):
            ps.pp.mpp(toy, **wrong)


def test_an_unknown_image_lists_those_there_are(toy: SpatialData) -> None:
    with pytest.raises(PixnetKeyError, match="'he', 'truth'"):
        ps.pp.mpp(toy, "nonsense")
    with pytest.raises(PixnetTypeError, match="SpatialData"):
        ps.pp.mpp("slide.zarr")
