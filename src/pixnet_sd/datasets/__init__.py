"""Tissue to try things on: synthetic with known truth, and real."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"breast": "_breast", "her2st": "_her2st", "toy": "_toy"})

if TYPE_CHECKING:
    from pixnet_sd.datasets._breast import breast as breast
    from pixnet_sd.datasets._her2st import her2st as her2st
    from pixnet_sd.datasets._toy import toy as toy
