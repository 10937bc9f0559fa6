"""The figure is 1 for a map without windows' traces, large for one that is made of windows, and absent for CNNs."""

import dask.array as da
import numpy as np
import pytest
import torch

from pixnet_sd._raster.grid import Window
from pixnet_sd._raster.picture import Picture
from pixnet_sd.nn.inference.predict import resolve_inference
from pixnet_sd.nn.inference.seams import mean_changes, measure_seam
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.network import PixNet

PICTURE = Picture(da.from_array(np.random.default_rng(0).integers(0, 256, (3, 300, 300), dtype=np.uint8), chunks=128))


def network(**changed: object) -> Ensemble:
    torch.manual_seed(0)
    plain = NetworkConfig(
        levels=(0, 1, 2, 3), decoder="pixel", widths=(8,), programs=3, stain=False, context_um=(), mpp=0.5, stride=4
    )
    config = NetworkConfig.from_json({**plain.to_json(), **changed})
    return Ensemble([PixNet(config, 4, encoder_weights=None)]).eval()


def test_changes_across_borders_are_told_from_the_others() -> None:
    steps = np.repeat(np.arange(5.0), 4)[None, None]  # a stair: its steps are at multiples of 4
    across, within = mean_changes(steps, 0, 4)
    assert across.tolist() == [1.0] * 4 and not within.any()
    across, within = mean_changes(steps[..., 1:], 1, 4)
    assert across.tolist() == [1.0] * 4 and not within.any()


def test_a_cnn_has_no_windows() -> None:
    small = network(encoder="stain")
    assert measure_seam(small, PICTURE, Window(0, 0, 64, 64), resolve_inference(small, device="cpu")) is None


def test_an_encoder_that_looks_at_windows_shows_them() -> None:
    windowed = network(encoder="resnet10t", window_px=64)
    found = measure_seam(windowed, PICTURE, Window(64, 64, 128, 128), resolve_inference(windowed, device="cpu"))
    assert found is not None and found > 1.1


def test_windows_and_surroundings_seen_from_afar_go_together() -> None:
    windowed = network(encoder="resnet10t", window_px=64, context_um=(60.0,), overview=4)
    assert (
        measure_seam(windowed, PICTURE, Window(64, 64, 128, 128), resolve_inference(windowed, device="cpu")) is not None
    )


def test_a_flat_picture_has_no_seams_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    windowed = network(encoder="resnet10t", window_px=64)
    monkeypatch.setattr(
        "pixnet_sd.nn.inference.seams.predict_blocks", lambda *a: [(Window(0, 0, 48, 48), np.ones((3, 48, 48)))]
    )
    assert measure_seam(windowed, PICTURE, Window(0, 0, 64, 64), resolve_inference(windowed, device="cpu")) == 1.0
