"""Draw: maps of expression, shapes, predicted beside measured, scores."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__, {"compare": "_compare", "expression": "_expression", "scores": "_scores", "shapes": "_shapes"}
)

if TYPE_CHECKING:
    from pixnet_sd.pl._compare import compare as compare
    from pixnet_sd.pl._expression import expression as expression
    from pixnet_sd.pl._scores import scores as scores
    from pixnet_sd.pl._shapes import shapes as shapes
