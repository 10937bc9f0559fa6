"""Every shape is in exactly one crop, whole, whatever the lattice; weights are the exact coverage."""

import numpy as np
import pytest
from precision import assert_close

from pixnet_sd._zonal.shapes import from_circles
from pixnet_sd.nn.training.crops import Layout, choose_layout, crop_weights, make_crops, sparse_tensor

RANDOM = np.random.default_rng(0)
SPOTS = from_circles(RANDOM.uniform(0, 900, (60, 2)), 20.0, np.eye(3))


@pytest.mark.parametrize("cell", [16, 64, 256])
def test_every_shape_is_whole_in_exactly_one_crop(cell: int) -> None:
    crops = make_crops(SPOTS, Layout(cell, 48))
    assert sorted(np.concatenate([crop.rows for crop in crops])) == list(range(60))
    for crop in crops:
        x0, y0, x1, y1 = SPOTS.bounds[crop.rows].T
        assert (x0 >= crop.window.x0).all() and (x1 <= crop.window.x1).all()
        assert (y0 >= crop.window.y0).all() and (y1 <= crop.window.y1).all()
        assert crop.window.y0 % 16 == crop.window.x0 % 16 == crop.window.height % 16 == 0


def test_margin_is_kept_around_every_shape() -> None:
    layout = choose_layout(SPOTS, 16, 50)
    for crop in make_crops(SPOTS, layout):
        assert SPOTS.bounds[crop.rows, 0].min() - crop.window.x0 >= 50
        assert crop.window.y1 - SPOTS.bounds[crop.rows, 3].max() >= 50


@pytest.mark.parametrize("stride", [1, 4])
def test_weights_sum_to_the_area(stride: int) -> None:
    crops = make_crops(SPOTS, choose_layout(SPOTS, 16, 0))
    weights = crop_weights(SPOTS.scaled(1 / stride), crops, stride)
    np.testing.assert_allclose(weights.sum(axis=1) * stride**2, np.pi * 400, rtol=1e-9)
    assert_close(sparse_tensor(weights).to_dense(), weights.toarray(), ulp=16)


def test_dense_shapes_share_crops_and_scattered_ones_do_not() -> None:
    dense = from_circles(np.indices((20, 20)).reshape(2, -1).T * 8.0, 3.0, np.eye(3))
    assert choose_layout(dense, 16, 0).cell_px >= 64
    assert choose_layout(SPOTS, 16, 0).cell_px < choose_layout(dense, 16, 0).cell_px
