import numpy as np
import pytest

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.stain import STAINS, compose_rgb, from_density, optical_density, separate_stains


def test_optical_density_of_known_values():
    rgb = np.array([255, 127, 0], np.uint8).reshape(3, 1, 1)
    np.testing.assert_allclose(optical_density(rgb).ravel(), [0, np.log10(2), np.log10(256)], rtol=1e-6)


def test_every_intensity_survives_the_way_through_density():
    rgb = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    np.testing.assert_array_equal(from_density(optical_density(rgb)), rgb)


def test_stain_vectors_have_unit_length_and_differ():
    np.testing.assert_allclose(np.linalg.norm(STAINS, axis=1), 1)
    assert STAINS[0] @ STAINS[1] < 0.8


def test_separate_inverts_compose_up_to_rounding():
    h, e = np.random.default_rng(0).uniform(0, 0.7, (2, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(separate_stains(compose_rgb(h, e)), [h, e], atol=0.02)


def test_separate_inverts_compose_for_other_vectors():
    stains = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    h, e = np.full((2, 1), 0.3, np.float32), np.full((2, 1), 0.1, np.float32)
    np.testing.assert_allclose(separate_stains(compose_rgb(h, e, stains), stains), [h, e], atol=0.01)


def test_concentrations_add_where_intensities_multiply():
    h, nothing = np.full((1, 1), 0.2, np.float32), np.zeros((1, 1), np.float32)
    once, twice = (optical_density(compose_rgb(k * h, nothing)) for k in (1, 2))
    np.testing.assert_allclose(twice, 2 * once, atol=0.01)


def test_white_holds_no_stain():
    np.testing.assert_array_equal(separate_stains(np.full((3, 2, 5), 255, np.uint8)), np.zeros((2, 2, 5)))


def test_separate_is_the_least_squares_solution():
    rgb = np.random.default_rng(1).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    density = optical_density(rgb).reshape(3, -1)
    expected = np.linalg.lstsq(STAINS.T, density, rcond=None)[0]
    np.testing.assert_allclose(separate_stains(rgb).reshape(2, -1), expected, atol=1e-5)


def test_other_dtypes_and_shapes_are_refused():
    with pytest.raises(PixnetTypeError, match="float64"):
        optical_density(np.zeros((3, 2, 2)))
    with pytest.raises(PixnetValueError, match=r"\(2, 2, 3\)"):
        separate_stains(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(PixnetValueError, match="same pixels"):
        compose_rgb(np.zeros((2, 2)), np.zeros((2, 3)))
