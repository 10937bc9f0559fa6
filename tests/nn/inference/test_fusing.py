"""A folded copy gives what the encoder gives, which is never changed; there is none where folding would be wrong."""

import pytest
import torch
from precision import assert_close
from torch import Tensor, nn

from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.encoders.build import build_encoder
from pixnet_sd.nn.inference.fusing import find_folds, fold_norms


@torch.no_grad()
def lived_in(encoder: Encoder) -> Encoder:
    """With batch norms that do something."""
    random = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
            module.weight.uniform_(0.5, 1.5, generator=random)
            module.bias.normal_(0, 0.1, generator=random)
    return encoder.eval()


def norms(encoder: Encoder) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [("tf_efficientnet_lite0", 0), ("resnet18", 0), ("mobilenetv3_small_050", 0), ("regnetx_002", 0), ("resnet10t", 1)],
)
def test_a_folded_encoder_gives_the_same_without_norms(name: str, left: int) -> None:
    encoder = lived_in(build_encoder(name, weights=None))
    image, state = torch.rand(2, 3, 96, 64), {key: value.clone() for key, value in encoder.state_dict().items()}
    with torch.inference_mode():
        before, copy = encoder(image), fold_norms(encoder)
        after = copy(image)
    assert norms(copy) == left  # where it belongs to another module than its convolution
    for one, other in zip(before, after, strict=True):
        assert_close(other, one, ulp=512)
    assert encoder.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())


class Misleading(Encoder):
    """The norm stands behind the convolution, and comes before it."""

    def __init__(self) -> None:
        super().__init__([3], [1])
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.convolution(self.norm(image).relu())]


def test_an_order_that_misleads_is_noticed() -> None:
    encoder = lived_in(Misleading())
    assert len(list(find_folds(encoder))) == 1
    assert fold_norms(encoder) is encoder
    assert norms(encoder) == 1


def test_what_trains_is_left_alone() -> None:
    encoder = build_encoder("resnet10t", weights=None)
    encoder.set_trainable("all")
    encoder.train()
    assert fold_norms(encoder) is encoder


def test_a_copy_costs_no_more_than_the_weights_that_are_folded() -> None:
    encoder = lived_in(build_encoder("resnet10t", weights=None))
    own = {tensor.data_ptr() for tensor in encoder.state_dict().values()}
    new = sum(t.nbytes for t in fold_norms(encoder).state_dict().values() if t.data_ptr() not in own)
    folds = [parent.get_submodule(name) for parent, *names in find_folds(encoder) for name in names]
    weights = [module.get_parameter("weight") for module in folds]
    assert 0 < new <= sum(tensor.nbytes for tensor in weights)
