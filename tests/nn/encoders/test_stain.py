"""Color: the torch encoder agrees with the numpy one, and its statistics are those of the pixels."""

import numpy as np
import torch

from pixnet_sd._raster.stain import compose_rgb, optical_density, separate_stains
from pixnet_sd.nn.encoders.stain import BOXES, SMALLEST_VARIANCE, StainEncoder


def picture(side: int = 32) -> tuple[np.ndarray, torch.Tensor]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
    return pixels, torch.from_numpy(pixels)[None] / 255


def test_the_numpy_twin_gives_the_same_numbers():
    pixels, image = picture()
    density, stains = StainEncoder().stains(image)[0].split([3, 2])
    np.testing.assert_allclose(density.numpy(), optical_density(pixels), atol=1e-5)
    np.testing.assert_allclose(stains.numpy(), separate_stains(pixels), atol=1e-5)


def test_white_has_no_density_and_no_stain():
    assert StainEncoder().stains(torch.ones(1, 3, 4, 4)).abs().max() == 0


def test_a_known_mixture_comes_apart():
    h, e = np.full((8, 8), 0.4), np.full((8, 8), 0.2)
    image = torch.from_numpy(compose_rgb(h, e))[None] / 255
    found = StainEncoder().stains(image)[0, 3:]
    torch.testing.assert_close(found.mean((1, 2)), torch.tensor([0.4, 0.2]), rtol=0, atol=0.01)


def test_statistics_are_those_of_the_full_resolution_pixels():
    _, image = picture(64)
    encoder = StainEncoder((4,))
    stains, (maps,) = encoder.stains(image), encoder(image)
    values, *moments = maps.split(5, dim=1)
    torch.testing.assert_close(values[..., 8, 8], stains[..., 32:36, 32:36].mean((2, 3)))
    side = BOXES[0]
    start = 4 * (8 - side // 2)
    box = stains[..., start : start + 4 * side, start : start + 4 * side]
    torch.testing.assert_close(moments[0][..., 8, 8], box.mean((2, 3)), rtol=1e-4, atol=1e-5)
    expected = (box.var((2, 3), correction=0) + SMALLEST_VARIANCE).sqrt()
    torch.testing.assert_close(moments[1][..., 8, 8], expected, rtol=1e-3, atol=1e-4)


def test_it_has_no_parameters():
    assert list(StainEncoder().parameters()) == []
