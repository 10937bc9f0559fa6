"""Features, exactly pooled, and a ridge: what is pooled is what the dense map pools to."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from nn.painted import silent, slide
from scipy.ndimage import gaussian_filter

from pixnet_sd._errors import PixnetWarning
from pixnet_sd._raster.picture import Picture
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.shapes import from_circles
from pixnet_sd.nn.inference.tiling import to_unit
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet
from pixnet_sd.nn.slides import MeasuredSet, Slide
from pixnet_sd.nn.training.pooled import PooledFeatures, find_corners, pool_slides
from pixnet_sd.nn.training.prepare import cached_datasets, decoder_margin
from pixnet_sd.nn.training.ridge import train_ridge

CONFIG = NetworkConfig(
    encoder="stain", levels=None, decoder="readout", head="log", programs=4, context_um=(20.0,), mpp=0.5, stride=4
)


def train(slides: list[Slide]) -> Model:
    count = slides[0].measured[0].counts.shape[1]
    genes = list("ABCN") if count == 4 else [f"g{k}" for k in range(count)]
    return train_ridge(slides, genes, CONFIG, Card("x"), encoder_weights=None, device="cpu", progress=silent)


def test_pooled_features_are_the_means_of_the_dense_map() -> None:
    network = PixNet(CONFIG, 4, encoder_weights=None).eval()
    one = slide(0)
    with cached_datasets(network, [one], "cpu", silent) as ready:
        pooled = pool_slides(network, ready, "cpu")
    margin = network.margin
    window = one.picture.grid.window.grow(margin)
    with torch.inference_mode():
        dense = network.decoder.dense(network.features(to_unit(one.picture.read(window)[None], "cpu")))[0].numpy()
    inner = dense[:, margin // 4 : margin // 4 + 64, margin // 4 : margin // 4 + 64]
    expected = aggregate(inner, one.measured[0].shapes.scaled(1 / 4), "mean").values
    np.testing.assert_allclose(pooled.features, expected, rtol=5e-3, atol=5e-3)


def test_model_predicts_what_is_visible_and_says_how_well() -> None:
    model = train_ridge(
        [slide(0), slide(1)],
        ["A", "B", "C", "N"],
        CONFIG,
        Card("test"),
        encoder_weights=None,
        device="cpu",
        progress=silent,
    )
    scores = model.card.scores
    assert min(scores["A"], scores["B"], scores["C"]) > 0.8
    assert abs(scores["N"]) < 0.35
    assert model.unit == "log1p"
    assert "2 sections" in model.card.validation


def test_shuffled_counts_score_nothing() -> None:
    one = slide(0)
    order = np.random.default_rng(5).permutation(100)
    measured = replace(one.measured[0], counts=one.measured[0].counts[order], totals=one.measured[0].totals[order])
    mixed = replace(one, measured=(measured,))
    model = train([mixed])
    assert abs(np.mean(list(model.card.scores.values()))) < 0.2


def test_the_same_data_give_the_same_model() -> None:
    one, two = (train([slide(0)]) for _ in range(2))
    assert one.sha256 == two.sha256


def test_blocks_share_out_a_section_evenly() -> None:
    places = np.random.default_rng(0).uniform(0, 1, (400, 2))
    assert [corner.sum() for corner in find_corners(places, 2)] == [100, 100, 100, 100]
    assert np.sum(find_corners(places, 2), axis=0).tolist() == [1] * 400
    assert [corner.sum() for corner in find_corners(places, 4)] == [25, 25, 25, 25]


def noise(seed: int, side: int = 20) -> Slide:
    """An image without pattern, and counts that vary smoothly whatever it shows."""
    random = np.random.default_rng(seed)
    image = random.uniform(65, 235, (3, side, side)).repeat(16, 1).repeat(16, 2)
    field = gaussian_filter(random.normal(size=(20, side, side)), (0, 2.5, 2.5))
    counts = random.poisson(10 * np.exp(0.5 * field / field.std((1, 2), keepdims=True)).reshape(20, -1).T)
    places = np.indices((side, side))[::-1].reshape(2, -1).T * 16.0 + 8
    measured = MeasuredSet(from_circles(places, 7.0, np.eye(3)), sp.csr_array(counts), counts.sum(axis=1).astype(float))
    return Slide("noise", Picture(da.from_array(image.astype(np.uint8))), 0.5, (measured,))


def test_an_image_that_says_nothing_of_smooth_counts_scores_0() -> None:
    """Blocks that touch see each other's pixels, and neighbors have similar counts: they scored 0.1."""
    means = [np.mean(list(train([noise(seed)]).card.scores.values())) for seed in range(8)]
    assert abs(np.mean(means)) < 0.05, means


def test_blocks_that_are_left_out_share_no_pixel_with_what_is_learnt_from() -> None:
    places = np.random.default_rng(0).uniform(0, 400, (300, 2))
    pooled = PooledFeatures(places, places, np.hstack([places - 5, places + 5]), np.zeros(300, int))
    for fold in pooled.folds(40.0):
        between = np.abs(places[fold.left_out][:, None] - places[fold.known]).max(axis=2) - 10
        assert between.min() >= 40
        assert fold.known.sum() > 100
    assert not any((fold.known & fold.left_out).any() for fold in pooled.folds(40.0))


def test_smaller_corners_are_left_out_where_a_quarter_leaves_too_few() -> None:
    places = np.random.default_rng(0).uniform(0, 400, (400, 2))
    pooled = PooledFeatures(places, places, np.hstack([places - 5, places + 5]), np.zeros(400, int))
    assert [fold.left_out.sum() for fold in pooled.folds(100.0)] == [100] * 4
    assert [fold.left_out.sum() for fold in pooled.folds(220.0)] == [25] * 4
    assert pooled.folds(330.0) == []


def test_a_section_too_small_for_a_distance_is_not_scored() -> None:
    with pytest.warns(PixnetWarning, match="too small to leave out corners of it in turn, 20 µm from"):
        card = train([noise(0, side=5)]).card
    assert (card.scores, card.validation) == ({}, "none")
    assert "4 corners of one section left out in turn, 20 µm" in train([noise(0)]).card.validation


def test_decoder_margin_is_small_and_measured() -> None:
    network = PixNet(CONFIG, 4, encoder_weights=None).eval()
    assert 0 < decoder_margin(network) <= network.margin
