"""Several networks as one: their programs side by side, their loadings divided by their number. Torch only."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import round_up
from pixnet_sd.nn.encoders.base import Encoder
from pixnet_sd.nn.network.network import PixNet


class Ensemble(nn.Module):
    """The mean of its members, as one network: the step from programs to genes is linear, so a mean of maps is too.

    Members with equal features, such as those trained on one frozen encoder, compute them once.

    It has what a `PixNet` has: `stride`, `alignment`, `margin`, `rim`, `unit`, `loadings`, `intercept`.
    """

    def __init__(self, members: Sequence[PixNet]) -> None:
        super().__init__()
        self.members = cast("Sequence[PixNet]", nn.ModuleList(members))
        self.stride, self.unit, self.mpp = self.agreed()
        self.alignment = lcm(*(member.alignment for member in members))
        self.margin = round_up(max(member.margin for member in members), self.alignment)
        self.shares_features = False
        self.share_features()
        self.rim = min(member.rim for member in members) // self.alignment * self.alignment

    def agreed(self) -> tuple[int, str, float]:
        kinds = {(member.stride, member.unit, member.config.mpp) for member in self.members}
        if len(kinds) != 1:
            raise PixnetValueError(
                "The members of a model must be one or more networks with the same stride, unit and um/px; got "
                f"{sorted(kinds)}."
            )
        return kinds.pop()

    def share_features(self) -> None:
        """Replace the features of all members by the first one's, where they are equal."""
        first, *others = self.members
        self.shares_features = all(have_same_features(first, other) for other in others)
        if self.shares_features:
            for other in others:
                other.features = first.features

    @property
    def loadings(self) -> Tensor:
        """(K, G), K over all members."""
        return torch.cat([member.loadings for member in self.members]) / len(self.members)

    @property
    def intercept(self) -> Tensor:
        """(G,)."""
        return torch.stack([member.intercept for member in self.members]).mean(0)

    @property
    def encoders(self) -> list[Encoder]:
        """The encoders of all members, each once."""
        return list(dict.fromkeys(member.encoder for member in self.members))

    @property
    def programs_of_members(self) -> list[slice]:
        """The range of programs of each member."""
        ends = torch.tensor([0] + [len(member.loadings) for member in self.members]).cumsum(0).tolist()
        return [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]

    def forward(self, image: Tensor) -> Tensor:
        """Compute programs of all members (B, K, h/stride, w/stride) from (B, 3, H, W) RGB in [0, 1].

        Members with a larger rim than the common one get a wider margin of white.
        """
        if self.shares_features:
            maps = self.members[0].features(image)
            return torch.cat([member.decode(maps) for member in self.members], dim=1)
        return torch.cat([member(widen_margin(image, member.rim - self.rim)) for member in self.members], dim=1)


def have_same_features(one: PixNet, other: PixNet) -> bool:
    if (one.config, one.reach) != (other.config, other.reach):
        return False
    weights, others = one.features.state_dict(), other.features.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)


def widen_margin(image: Tensor, extra: int) -> Tensor:
    """Pad with white on all sides."""
    return F.pad(image, (extra,) * 4, value=1.0) if extra else image
