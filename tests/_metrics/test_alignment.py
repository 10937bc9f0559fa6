"""Places are what they say, and the measures tell a right place from a wrong one."""

import numpy as np
import pytest

from pixnet_sd._metrics.alignment import (
    Place,
    Raster,
    explained_share,
    expression_components,
    move_centers,
    other_places,
    tissue_share,
)

HEIGHT, WIDTH = 40, 60
RANDOM = np.random.default_rng(0)
CENTERS = RANDOM.uniform([0, 0], [WIDTH, HEIGHT], (200, 2))
COLOR = Raster(RANDOM.normal(size=(3, HEIGHT, WIDTH)), np.eye(3))


def place(words: str) -> Place:
    (found,) = (one for one in other_places((HEIGHT, WIDTH), CENTERS) if one.words.startswith(words))
    return found


@pytest.mark.parametrize(
    ("words", "corner"),
    [
        ("mirrored left to right", (59, 3)),
        ("mirrored top to bottom", (1, 37)),
        ("turned by 180 degrees", (59, 37)),
        ("with x and y swapped", (3, 1)),
        ("turned by 90 degrees", (57, 1)),
        ("turned by 270 degrees", (3, 39)),
        ("mirrored about the other diagonal", (57, 39)),
        ("with coordinates 0.5 times", (0.5, 1.5)),
    ],
)
def test_places_are_what_they_say(words: str, corner: tuple[float, float]) -> None:
    np.testing.assert_allclose(move_centers(np.array([[1.0, 3.0]]), place(words)), [corner])


def test_no_place_is_the_one_they_have() -> None:
    places = other_places((HEIGHT, WIDTH), CENTERS)
    assert not any(np.allclose(one.matrix, np.eye(3)) for one in places)
    assert len({one.words for one in places}) == len(places) == 7 + 6 + 120


def test_the_share_on_tissue_counts_centers_beside_the_image_as_missed() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:, :2] = True
    halves = Raster(mask, np.diag([0.1, 0.1, 1.0]))
    points = np.array([[5.0, 5.0], [19.9, 39.9], [20.1, 5.0], [-0.1, 5.0]])
    assert tissue_share(halves, points) == 0.5


def test_expression_that_is_color_is_explained_in_its_place_only() -> None:
    under, _ = COLOR.at(CENTERS)
    expression = under.T - under.T.mean(axis=0)
    expression /= np.linalg.norm(expression)
    assert explained_share(COLOR, CENTERS, expression) == pytest.approx(1)
    assert (
        max(explained_share(COLOR, move_centers(CENTERS, one), expression) for one in other_places((40, 60), CENTERS))
        < 0.2
    )


def test_what_chance_explains_is_taken_off() -> None:
    noise = [
        expression_components(RANDOM.poisson(9.0, (200, 20)).astype(float), np.full(200, 180.0)) for _ in range(30)
    ]
    found = [explained_share(COLOR, CENTERS, one) for one in noise]
    assert np.mean(found) < 0.01


def test_programs_have_unit_length_and_constant_expression_has_none() -> None:
    counts = RANDOM.poisson(9.0, (50, 20)).astype(float)
    assert (expression_components(counts, counts.sum(axis=1)) ** 2).sum() == pytest.approx(1)
    np.testing.assert_allclose(expression_components(np.ones((50, 20)), np.full(50, 20.0)), 0, atol=1e-12)
