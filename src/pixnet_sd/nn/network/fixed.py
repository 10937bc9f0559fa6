"""Networks of rates whose loadings are a table. Torch only."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from pixnet_sd.nn.network.network import PixNet


def replace_loadings(member: PixNet, loadings: Tensor) -> PixNet:
    """Copy a network of rates with a table of loadings (K, G) in the place of its own; programs stay the same."""
    copy = PixNet(replace(member.config, head="fixed"), loadings.shape[1], encoder_weights=None, reach=member.reach)
    own = copy.state_dict()
    kept = {key: value for key, value in member.state_dict().items() if key in own and own[key].shape == value.shape}
    copy.load_state_dict({**own, **kept, "head.table": loadings})
    return copy.eval()
