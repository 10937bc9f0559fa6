"""Read output of instruments and scanners, with µm per pixel, and write files of other programs.

_slide, _visium, _visium_hd, _xenium, _outlines, _anndata   public readers
_scan        lazy pixels of a file and its metadata
_tiff        levels of a TIFF file as arrays
_resolution  µm per pixel from the metadata of TIFF files
_vendor      folders through spatialdata-io
_assemble    one SpatialData object of all parts
_to_qupath, _to_ome_tiff, _to_10x   public writers
_exports     files that appear whole; rows of a table with their shapes
"""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "anndata": "_anndata",
        "outlines": "_outlines",
        "slide": "_slide",
        "to_10x": "_to_10x",
        "to_ome_tiff": "_to_ome_tiff",
        "to_qupath": "_to_qupath",
        "visium": "_visium",
        "visium_hd": "_visium_hd",
        "xenium": "_xenium",
    },
)

if TYPE_CHECKING:
    from pixnet_sd.io._anndata import anndata as anndata
    from pixnet_sd.io._outlines import outlines as outlines
    from pixnet_sd.io._slide import slide as slide
    from pixnet_sd.io._to_10x import to_10x as to_10x
    from pixnet_sd.io._to_ome_tiff import to_ome_tiff as to_ome_tiff
    from pixnet_sd.io._to_qupath import to_qupath as to_qupath
    from pixnet_sd.io._visium import visium as visium
    from pixnet_sd.io._visium_hd import visium_hd as visium_hd
    from pixnet_sd.io._xenium import xenium as xenium
