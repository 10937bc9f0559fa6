"""The network for nuclei: small, local, and the same on a tile as on the whole image."""

import numpy as np
import pytest
import torch
from precision import assert_close

import pixnet_sd as ps
from pixnet_sd._raster.basins import split_mask
from pixnet_sd._raster.stain import compose_rgb
from pixnet_sd.nn import nuclei

LARGEST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def network() -> nuclei.NucleusNet:
    return nuclei.bundled_net()


def test_the_weights_are_small_and_no_model_of_genes() -> None:
    assert nuclei.WEIGHTS.stat().st_size <= LARGEST_BYTES
    assert nuclei.WEIGHTS.parent.name not in ps.models().index


def test_a_value_depends_on_no_more_than_the_margin(network: nuclei.NucleusNet) -> None:
    side, middle = 2 * nuclei.MARGIN + 48, nuclei.MARGIN + 24
    image = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0)).requires_grad_()
    network(image)[0, :, middle - 4 : middle + 4, middle - 4 : middle + 4].sum().backward()
    assert image.grad is not None
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    first, last = int(min(rows.min(), columns.min())), int(max(rows.max(), columns.max()))
    assert first >= middle - 4 - nuclei.MARGIN
    assert last < middle + 4 + nuclei.MARGIN


def test_a_window_gives_what_the_image_gives(network: nuclei.NucleusNet) -> None:
    image = torch.rand((1, 1, 272, 264), generator=torch.Generator().manual_seed(1))
    begin, margin = 48, nuclei.MARGIN
    with torch.inference_mode():
        whole, part = network(image), network(image[..., begin:, begin:])
    assert_close(part[..., margin:, margin:].numpy(), whole[..., begin + margin :, begin + margin :].numpy(), ulp=512)


def test_folded_norms_change_nothing() -> None:
    torch.manual_seed(0)
    network = nuclei.NucleusNet()
    image = torch.rand(4, 1, 64, 64)
    network(image)  # the norms see something
    with torch.inference_mode():
        before = network.eval()(image)
        assert_close(nuclei.fold_norms(network)(image).numpy(), before.numpy(), ulp=512)


def test_discs_are_found_where_they_are(network: nuclei.NucleusNet) -> None:
    rows, columns = np.mgrid[:240, :240]
    near = (rows % 60 - 30) ** 2 + (columns % 60 - 30) ** 2 < 8**2
    basins = split_mask(*nuclei.detect_with(network)(compose_rgb(0.6 * near, np.full(near.shape, 0.3))), (0, 0))
    assert len(basins.seeds_yx) == 16
    assert (np.abs(basins.seeds_yx % 60 - 30) <= 3).all()


def test_glass_holds_no_nuclei(network: nuclei.NucleusNet) -> None:
    assert not nuclei.detect_with(network)(np.full((3, 128, 128), 245, np.uint8))[0].any()
