"""Draw: maps of expression, shapes, predicted beside measured, scores, how a training went, reports."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "alignment": "_alignment",
        "compare": "_compare",
        "expression": "_expression",
        "model": "_model",
        "report": "_report",
        "report_index": "_report_index",
        "scales": "_scales",
        "scores": "_scores",
        "shapes": "_shapes",
        "tissue": "_tissue",
        "training": "_training",
    },
)

if TYPE_CHECKING:
    from pixnet_sd.pl._alignment import alignment as alignment
    from pixnet_sd.pl._compare import compare as compare
    from pixnet_sd.pl._expression import expression as expression
    from pixnet_sd.pl._model import model as model
    from pixnet_sd.pl._report import report as report
    from pixnet_sd.pl._report_index import report_index as report_index
    from pixnet_sd.pl._scales import scales as scales
    from pixnet_sd.pl._scores import scores as scores
    from pixnet_sd.pl._shapes import shapes as shapes
    from pixnet_sd.pl._tissue import tissue as tissue
    from pixnet_sd.pl._training import training as training
