"""A held-out corner is a quarter, the same region in every set, and far from what is trained on."""

from dataclasses import replace

import numpy as np
import pytest
from nn.painted import slide

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.split import hold_out_corner


def test_a_quarter_is_held_out_at_a_distance() -> None:
    one = slide(0)
    training, validation = hold_out_corner(one, buffer_px=30.0)
    kept, held = training.measured[0].shapes.centroid, validation.measured[0].shapes.centroid
    assert len(held) == 25
    gaps = np.linalg.norm(kept[:, None] - held[None], axis=2).min(axis=1)
    assert gaps.min() > 30 + 16
    assert len(kept) + len(held) < 100


def test_sets_share_the_region() -> None:
    one = slide(0)
    twice = replace(one, measured=(one.measured[0], one.measured[0].take(np.arange(0, 100, 2))))
    _, validation = hold_out_corner(twice, 0.0)
    one_corner, other_corner = (part.shapes.centroid.min(axis=0) for part in validation.measured)
    np.testing.assert_allclose(one_corner, other_corner, atol=25)


def test_too_few_shapes_are_refused() -> None:
    one = slide(0)
    few = replace(one, measured=(one.measured[0].take(np.arange(20)),))
    with pytest.raises(PixnetValueError, match="or None to train on everything"):
        hold_out_corner(few, 0.0)
