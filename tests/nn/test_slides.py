"""A held-out corner is a quarter, the same region in every set, and far from what is trained on."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from nn.painted import slide

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.slides import Slide, check_no_overlap, hold_out_corner


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


def without_counts(one: Slide, rows: np.ndarray) -> Slide:
    counts = one.measured[0].counts.toarray()
    counts[rows] = 0
    return replace(one, measured=(replace(one.measured[0], counts=sp.csr_array(counts)),))


@pytest.mark.parametrize(("held_out", "name"), [(False, "train on"), (True, "validate on")])
def test_a_part_without_counts_is_refused(held_out: bool, name: str) -> None:
    one = slide(0)
    corner = np.all(one.measured[0].shapes.centroid >= 120, axis=1)
    empty = without_counts(one, np.asarray(corner == held_out))
    with pytest.raises(PixnetValueError, match=f"no counts of the 4 genes in what the held-out corner .* to {name}"):
        hold_out_corner(empty, 0.0)


def test_a_section_that_is_learnt_from_validates_nothing() -> None:
    one, two = slide(0), slide(1)
    counts = replace(two, measured=one.measured)
    pixels = replace(two, picture=one.picture)
    for known in (one, replace(one), counts, pixels):
        with pytest.raises(PixnetValueError, match=r"same counts, or the same pixels under the same shapes.*Not so\."):
            check_no_overlap([slide(2), one], [slide(3), replace(known)], "Not so.")
    check_no_overlap([one], [two], "Not so.")


def test_other_shapes_of_a_slide_validate() -> None:
    one = slide(0)
    half, rest = (replace(one, measured=(one.measured[0].take(np.arange(k, 100, 2)),)) for k in (0, 1))
    check_no_overlap([half], [rest], "Not so.")
