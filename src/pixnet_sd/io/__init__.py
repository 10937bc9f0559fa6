"""Read what instruments and scanners write: an image, shapes and counts in one coordinate system, with µm per pixel.

_slide, _visium, _visium_hd, _xenium, _outlines   what a user calls
_scan        pixels of a file, lazy, with what the file says about them
_tiff        levels of a TIFF file as arrays
_resolution  µm per pixel, where a TIFF file states it
_lattice     spots and bins on the lattice of their array
_vendor      folders through spatialdata-io, and what it leaves to us
_assemble    one object of all that was read
"""

from typing import TYPE_CHECKING

from pixnet_sd._lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "outlines": "_outlines",
        "slide": "_slide",
        "visium": "_visium",
        "visium_hd": "_visium_hd",
        "xenium": "_xenium",
    },
)

if TYPE_CHECKING:
    from pixnet_sd.io._outlines import outlines as outlines
    from pixnet_sd.io._slide import slide as slide
    from pixnet_sd.io._visium import visium as visium
    from pixnet_sd.io._visium_hd import visium_hd as visium_hd
    from pixnet_sd.io._xenium import xenium as xenium
