"""Dense maps of gene expression from H&E images, aggregated exactly onto any shapes, for SpatialData.

Importing this module loads neither torch nor scanpy nor spatialdata: each name is loaded when it is first used.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__version__ = version("pixnet-sd")

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "datasets": "datasets",
        "io": "io",
        "pl": "pl",
        "pp": "pp",
        "tl": "tl",
        "Card": "nn.model.model",
        "MarkerMap": "nn.model.lazyslide",
        "Model": "nn.model.model",
        "NetworkConfig": "nn.network.config",
        "RateLoss": "nn.training.loss",
        "TrainConfig": "nn.training.config",
        "encoders": "nn.encoders.build",
        "models": "nn.model.bundled",
        "PixnetError": "_errors",
        "PixnetWarning": "_errors",
        "settings": "_settings",
    },
)

if TYPE_CHECKING:
    from pixnet_sd import datasets as datasets
    from pixnet_sd import io as io
    from pixnet_sd import pl as pl
    from pixnet_sd import pp as pp
    from pixnet_sd import tl as tl
    from pixnet_sd._errors import PixnetError as PixnetError
    from pixnet_sd._errors import PixnetWarning as PixnetWarning
    from pixnet_sd._settings import settings as settings
    from pixnet_sd.nn.encoders.build import encoders as encoders
    from pixnet_sd.nn.model.bundled import models as models
    from pixnet_sd.nn.model.lazyslide import MarkerMap as MarkerMap
    from pixnet_sd.nn.model.model import Card as Card
    from pixnet_sd.nn.model.model import Model as Model
    from pixnet_sd.nn.network.config import NetworkConfig as NetworkConfig
    from pixnet_sd.nn.training.config import TrainConfig as TrainConfig
    from pixnet_sd.nn.training.loss import RateLoss as RateLoss
