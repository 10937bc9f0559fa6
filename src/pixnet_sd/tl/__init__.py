"""Compute: maps of expression, tables for shapes."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"aggregate": "_aggregate", "coverage": "_coverage", "evaluate": "_evaluate"})

if TYPE_CHECKING:
    from pixnet_sd.tl._aggregate import aggregate as aggregate
    from pixnet_sd.tl._coverage import coverage as coverage
    from pixnet_sd.tl._evaluate import evaluate as evaluate
