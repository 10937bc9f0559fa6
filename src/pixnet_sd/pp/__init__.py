"""Prepare: µm per pixel, tissue, its quality, nuclei, bins, genes."""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "bins": "_bins",
        "match_genes": "_match_genes",
        "mpp": "_mpp",
        "nuclei": "_nuclei",
        "quality": "_quality",
        "select_genes": "_genes",
        "tissue": "_tissue",
    },
)

if TYPE_CHECKING:
    from pixnet_sd.pp._bins import bins as bins
    from pixnet_sd.pp._genes import select_genes as select_genes
    from pixnet_sd.pp._match_genes import match_genes as match_genes
    from pixnet_sd.pp._mpp import mpp as mpp
    from pixnet_sd.pp._nuclei import nuclei as nuclei
    from pixnet_sd.pp._quality import quality as quality
    from pixnet_sd.pp._tissue import tissue as tissue
