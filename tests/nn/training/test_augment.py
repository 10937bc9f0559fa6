"""Views change how a crop looks and nothing about where things are."""

import torch

from pixnet_sd.nn.network.views import VIEWS, apply_view, undo_view
from pixnet_sd.nn.training.augment import CropView, blur_crop, random_view, resize_crop

ONE, ZERO = torch.ones(3, 1, 1), torch.zeros(3, 1, 1)


def test_every_turn_is_undone_and_differs_from_the_others() -> None:
    image = torch.rand(2, 3, 6, 6)
    seen = [apply_view(image, *view) for view in VIEWS]
    for view, turned in zip(VIEWS, seen, strict=True):
        assert torch.equal(undo_view(turned, *view), image)
    assert len({tuple(turned.flatten().tolist()) for turned in seen}) == 8


def test_a_plain_view_shows_the_image() -> None:
    image = torch.rand(1, 3, 4, 4).clamp_min(0.01)
    for number in range(8):
        view = CropView(number, ONE, ZERO, blurred=False)
        torch.testing.assert_close(view.undo(view.apply(image)), image)


def test_color_changes_in_optical_density_so_glass_stays_white() -> None:
    image = torch.ones(1, 3, 4, 4)
    stronger = CropView(0, 1.5 * ONE, ZERO, blurred=False)
    torch.testing.assert_close(stronger.apply(image), image)
    torch.testing.assert_close(stronger.apply(0.5 * image), 0.5**1.5 * image)


def test_blur_keeps_the_mean() -> None:
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 4] = 1.0
    torch.testing.assert_close(blur_crop(image).sum(), image.sum())
    assert blur_crop(image).max() == 0.25


def test_views_follow_their_generator() -> None:
    one, again = (random_view(torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.number == again.number and torch.equal(one.gain, again.gain)


def test_a_smaller_view_leaves_things_where_they_are() -> None:
    """A map of what is seen smaller is brought back to where it was; what matters lies away from the edge."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    image = torch.exp(-8 * ((x - 0.2) ** 2 + (y + 0.3) ** 2)).expand(1, 3, 64, 64)
    seen = resize_crop(image, 0.85)
    assert seen.sum() < 0.8 * image.sum()
    torch.testing.assert_close(resize_crop(seen, 1 / 0.85), image, atol=0.01, rtol=0)
