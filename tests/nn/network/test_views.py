"""Slides seen to lie in several ways: how they came to lie makes no difference then."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from nn.painted import silent, slide

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.shapes import from_circles
from pixnet_sd.nn.model.model import Card
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import Slide
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.fit import train_pixnet
from pixnet_sd.nn.training.prepare import cached_datasets, training_datasets

STAIN = NetworkConfig(
    encoder="stain", levels=None, decoder="pixel", widths=(8,), programs=3, context_um=(20.0,), mpp=0.5, stride=4
)
CNN = replace(STAIN, encoder="tf_efficientnet_lite0", levels=(0, 1))
SIDE = 256


def lying_otherwise(one: Slide) -> Slide:
    """The same after a quarter turn."""
    (measured,) = one.measured
    x, y = measured.shapes.centroid.T
    spots = from_circles(np.column_stack([y, SIDE - x]), 8.0, np.eye(3))
    picture = Picture(da.from_array(np.rot90(one.picture.data.compute(), 1, (1, 2))))
    return replace(one, picture=picture, measured=(replace(measured, shapes=spots),))


def means(network: PixNet, slides: Sequence[Slide], views: int) -> np.ndarray:
    """(slides, views, shapes, features) over what is drawn of each shape."""
    with cached_datasets(network, slides, "cpu", silent, 1000, views) as sets:
        samples = [[dataset.samples for dataset in own] for own in sets]
        return np.array([[np.einsum("sdm,sm->sd", one.features, one.weights) for one in own if one] for own in samples])


def test_a_slide_gives_the_same_however_it_lies() -> None:
    network = PixNet(CNN, 4, encoder_weights=None).eval()
    as_it_is, turned = means(network, [slide(0), lying_otherwise(slide(0))], views=8)
    key = np.random.default_rng(0).normal(size=as_it_is.shape[1:])
    order, other = ((key[0] * seen).sum(axis=(1, 2)).argsort() for seen in (as_it_is, turned))
    scale = as_it_is.std()
    np.testing.assert_allclose(as_it_is[order], turned[other], atol=0.01 * scale)
    assert np.abs(as_it_is - as_it_is[0]).max(axis=(1, 2))[1:].min() > 0.1 * scale  # the views do differ


def test_every_view_is_a_section_of_its_own() -> None:
    network = PixNet(STAIN, 4, encoder_weights=None).eval()
    slides = [slide(0), slide(1, depth=0.25)]
    with cached_datasets(network, slides, "cpu", silent, 64, 4) as sets:
        datasets = training_datasets(sets)
    assert [dataset.slide.name for dataset in datasets] == ["slide 0"] * 4 + ["slide 1"] * 4
    factors = [dataset.size_factor for dataset in datasets]
    assert len(set(factors[:4])) == len(set(factors[4:])) == 1
    assert factors[0] == pytest.approx(4 * factors[4])


def test_what_is_learnt_from_views_fits() -> None:
    config = TrainConfig(network=STAIN, steps=200, crops=32, feature_dropout=0.0, dropout=0.0, lr=2e-2, views=4)
    torch.manual_seed(0)
    model = train_pixnet(
        [slide(0), slide(1)], [slide(2)], list("ABCN"), config, Card("x"), device="cpu", progress=silent
    )
    assert min(model.card.scores[gene] for gene in "ABC") > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views must be from 1 to 8; got 0"),
        ({"views": 9}, "views must be from 1 to 8; got 9"),
        ({"views": 4, "augment": True}, "augment=True rotates crops"),
        ({"views": 4, "encoder": "all"}, "needs a frozen encoder"),
        ({"views": 4, "network": replace(STAIN, decoder="safb", widths=(8, 8, 8, 8))}, 'the decoder "pixel"'),
    ],
)
def test_views_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PixnetValueError, match=message):
        TrainConfig(**{"network": STAIN, **options})
