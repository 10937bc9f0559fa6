"""Where on a slide there is tissue, from a thumbnail. Arrays only: knows neither torch nor spatialdata.

Stain is colored and uneven; what else lies on glass lacks one of the two. Shadows, frames, dust and bubbles absorb all
colors alike, and smears of dye are smooth. So every pixel gets the spread of its optical density over the channels
(Beer-Lambert, as in Macenko et al. 2009; a uniform veil cancels in it), and tissue is where that is either strong, or
weak but textured, or comes with red light absorbed, which eosin that has bled onto the glass leaves alone. Thresholds
are absolute, not Otsu's, so slides with no tissue and with no glass need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pixnet_sd._errors import PixnetTypeError, PixnetValueError

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

WORKING_MPP = 8.0
"""Finer images are averaged to about this: a pixel is then a nucleus, the grain that tells tissue from smears."""

DARKEST = 0.06
"""Intensity below which a camera counts noise and not dye: padding, frames and folds carry no color there."""

EMPTY_GLASS = 0.6
"""Light of an image without tissue above which it may be glass; a fluorescence image and noise are darker."""

GRAIN_UM = 10.0
"""Radius (sigma) over which light is averaged first, against the noise of the camera and of JPEG."""
NEIGHBORHOOD_UM = 15.0
"""Radius (sigma) of the local mean and spread: a few cells. Twice as wide, smears beside tissue come with it."""

PADDING_DENSITY = 0.001
"""Density below which white is a writer's padding; a camera leaves some headroom, and its white is the one we need."""
BLACK_DENSITY = 1.0
"""Density above which flat pixels are padding or frame: no lamp is set so low."""
BLACK_NEAR = 0.001
"""Share of such pixels in a neighborhood above which its spread is that of an edge of padding, not of walls."""
GLASS_TEXTURE = 0.004
"""Spread of optical density within a neighborhood up to which it is as flat as glass (measured: 0.001 to 0.004)."""
GLASS_STAIN = 0.08
"""Stain against pure white up to which flat pixels may be glass, tinted by lamp or dye (measured: 0.00 to 0.05)."""
GLASS_SHARE = 0.01
"""Share of the image that must look like glass before its color is taken for that of the lamp."""
GLASS_BINS = 64
"""Bins of intensity in which the commonest glass is sought; one is 4 of 255 gray levels wide."""

GRAY_STAIN = 0.01
"""An image whose strongest stain is below this has no color; its density stands in for stain."""
GRAY_DENSITY = 0.06
"""Density that is tissue where it is uneven, in an image without color."""
GRAY_TEXTURE = 0.006
"""Spread of density that goes with it: above that of glass."""
STRONG_STAIN = 0.10
"""Stain that is tissue however smooth it is: above the densest smear of eosin seen (0.066), below most tissue."""
WEAK_STAIN = 0.03
"""Stain that is tissue where it is uneven: above the tint of bare glass."""
FIBRE_TEXTURE = 0.012
"""Spread of stain within a neighborhood that fibres have and smears do not (measured there: up to 0.006)."""
NUCLEI = 0.016
"""Hematoxylin that nuclei leave in any neighborhood: smears of eosin reach 0.011, pale brain has 0.05."""
NUCLEI_TEXTURE = 0.003
"""Spread of stain around nuclei even where they are dense: bluish shadows and blurred print stay below."""
PALE_STAIN, PALE_RED = 0.045, 0.035
"""Stain and density of red that are tissue together however smooth it is (measured in pale neuropil: from 0.053 and
0.050); smears of eosin reach that stain with a density of red up to 0.017, printed dots and shadows the reverse."""
MESH_STAIN, MESH_TEXTURE = 0.015, 0.02
"""Stain, and spread of the density of red within a neighborhood, of alveoli and fat: thin walls around bare glass."""

BARE_STAIN, BARE_DENSITY = 0.025, 0.12
"""Stain and density, against the glass, up to which a pixel is bare glass, also in a lamp's shade."""
BARE_GRAIN_UM = 3.0
"""Radius (sigma) over which light is averaged for that: finer than `GRAIN_UM`, which blurs the outline."""
FRINGE_UM = 16.0
"""How deep bare glass is peeled off: about the reach of the blurs above. Lumina deeper in stay inside the outline."""

GAP_UM = 30.0
"""Cracks up to twice this width are closed: sections tear and shrink without an end of the tissue."""
BLUR_UM = 8.0
"""How far outside the tissue its blurred edge still passes the thresholds; it is taken back."""
THREAD_UM = 10.0
"""Threads up to twice this width are cut: lint and scratches."""
SPECK_UM2 = 50_000.0
"""Pieces below this area are debris: a disc 250 µm across, more than any printed dot, less than a needle biopsy."""
HOLE_UM2 = 50_000.0
"""Holes below this area are vessels, ducts and fat inside the tissue, and belong to it."""
LARGE_SHARE = 0.25
"""No piece or hole above this share of the image counts as small: a crop of 200 µm must not be debris as a whole."""


def tissue_mask(image: NDArray[np.generic], mpp: float, sensitivity: float = 1.0) -> Mask:
    """Find the tissue on an RGB image (3, y, x) of 2 to 40 µm per pixel; True where there is some.

    The image is uint8, or floats from 0 (black) to 1 (white). Thresholds of stain are divided by `sensitivity`. The
    outline is right to about 10 µm; on an image without any color, dark print and bubbles count as tissue.
    """
    intensity = as_intensity(image)
    if not 0 < mpp < np.inf:
        raise PixnetValueError(f"µm per pixel must be positive and finite; got {mpp}.")
    factor = max(round(WORKING_MPP / mpp), 1)
    mask = working_mask(edge_block_means(intensity, factor), mpp * factor, sensitivity)
    height, width = image.shape[1:]
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]


def glass_is_lighter(image: NDArray[np.generic], mask: Mask) -> bool:
    """Return whether what is off the tissue is lighter than what is on it, as glass is; black padding is left aside.

    Lighter and not light: a dark lamp gives glass half of the white of another (measured: 0.50 to 0.99).
    """
    light = as_intensity(image).mean(axis=0)
    off, on = (light[part & (light > DARKEST)] for part in (~mask, mask))
    return not off.size or bool(np.median(off) > (np.median(on) if on.size else EMPTY_GLASS))


def as_intensity(image: NDArray[np.generic]) -> Floats:
    """Return the image as float32 from 0 to 1, or raise an error that says what was given."""
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise PixnetValueError(f"Tissue is found on RGB images of shape (3, y, x); got shape {image.shape}.")
    if image.dtype == np.uint8:
        return np.divide(image, 255, dtype=np.float32)
    if not np.issubdtype(image.dtype, np.floating):
        raise PixnetTypeError(f"Tissue is found on uint8 or on floats from 0 to 1; got {image.dtype}. Convert it.")
    if not (image.min() >= 0 and image.max() <= 1):
        raise PixnetValueError(f"Floats must lie in 0 to 1; found {image.min():g} to {image.max():g}. Rescale them.")
    return image.astype(np.float32)


def edge_block_means(image: NDArray[np.floating], factor: int) -> Floats:
    """Average squares of `factor` pixels a side; those over the edge repeat its last pixel."""
    channels, height, width = image.shape
    padded = np.pad(image, ((0, 0), (0, -height % factor), (0, -width % factor)), mode="edge")
    rows, columns = padded.shape[1] // factor, padded.shape[2] // factor
    return padded.reshape(channels, rows, factor, columns, factor).mean(axis=(2, 4)).astype(np.float32)


def working_mask(intensity: Floats, mpp: float, sensitivity: float) -> Mask:
    density = optical_density(gaussian_blur(intensity, max(GRAIN_UM / mpp, 1.0)))
    glass = glass_density(density, mpp)[:, None, None]
    mask = clean_mask(find_stained((density - glass) * np.float32(sensitivity), mpp), mpp)
    fine = gaussian_blur(optical_density(intensity) - glass, BARE_GRAIN_UM / mpp)
    bare = (stain_unevenness(fine) < BARE_STAIN) & (fine.mean(axis=0) < BARE_DENSITY)
    return peel_fringe(mask, bare, mpp)


def optical_density(intensity: Floats) -> Floats:
    return -np.log10(np.maximum(intensity, DARKEST))


def peel_fringe(mask: Mask, bare: Mask, mpp: float) -> Mask:
    """Drop bare glass along the outline, from outside inwards."""
    steps = max(round(FRINGE_UM / mpp), 1)
    outside = ndimage.binary_dilation(~mask, mask=~mask | bare, iterations=steps)
    return remove_small(~outside, SPECK_UM2 / mpp**2)


def gaussian_blur(image: Floats, sigma_px: float) -> Floats:
    """Blur along the last two axes."""
    return ndimage.gaussian_filter(image, sigma_px, axes=(-2, -1), mode="nearest")


@dataclass(frozen=True, slots=True)
class LocalStatistics:
    """What a neighborhood looks like, for every pixel."""

    mean: Floats
    """Gaussian mean."""
    spread: Floats
    """Gaussian standard deviation."""


def local_statistics(image: Floats, mpp: float) -> LocalStatistics:
    sigma_px = max(NEIGHBORHOOD_UM / mpp, 1.0)
    mean = gaussian_blur(image, sigma_px)
    # In single precision the difference may fall below 0 where the image is flat.
    return LocalStatistics(mean, np.sqrt(np.maximum(gaussian_blur(image**2, sigma_px) - mean**2, 0)))


def stain_unevenness(density: Floats) -> Floats:
    """Measure how unevenly the channels absorb: 0 for anything gray, whatever its darkness."""
    return np.ptp(density, axis=0)


def hematoxylin(density: Floats) -> Floats:
    """Measure absorption of red and green over blue: above 0 for hematoxylin, 0 for gray, below for eosin."""
    return np.minimum(density[0], density[1]) - density[2]


def glass_density(density: Floats, mpp: float) -> Floats:
    """Estimate the optical density (3,) of glass: the mode of flat, uncolored pixels, or 0 if these are few."""
    gray = density.mean(axis=0)
    lit = (gray > PADDING_DENSITY) & (gray < BLACK_DENSITY)
    glass = lit & (local_statistics(gray, mpp).spread < GLASS_TEXTURE) & (stain_unevenness(density) < GLASS_STAIN)
    if glass.mean() < GLASS_SHARE:
        return np.zeros(3, np.float32)
    bins = np.floor(10 ** -gray[glass] * GLASS_BINS).astype(int)
    commonest = np.bincount(bins).argmax()
    return np.median(density[:, glass][:, abs(bins - commonest) <= 1], axis=1)


def find_stained(density: Floats, mpp: float) -> Mask:
    """Find pixels that are strongly colored, or uneven in color, or hold hematoxylin, or absorb red as well.

    In an image without any color, those that are dark and uneven.
    """
    color = stain_unevenness(density)
    if color.max() < GRAY_STAIN:
        around = local_statistics(density.mean(axis=0), mpp)
        return (around.mean > GRAY_DENSITY) & (around.spread > GRAY_TEXTURE)
    around, red = local_statistics(color, mpp), local_statistics(density[0], mpp)
    nuclei = (local_statistics(hematoxylin(density), mpp).mean > NUCLEI) & (around.spread > NUCLEI_TEXTURE)
    fibres = (around.mean > WEAK_STAIN) & (around.spread > FIBRE_TEXTURE)
    pale = (around.mean > PALE_STAIN) & (red.mean > PALE_RED)
    mesh = (around.mean > MESH_STAIN) & (red.spread > MESH_TEXTURE)
    black = local_statistics((density.mean(axis=0) > BLACK_DENSITY).astype(np.float32), mpp).mean
    weak = (pale | mesh) & (black < BLACK_NEAR)
    return (around.mean > STRONG_STAIN) | fibres | nuclei | weak


def clean_mask(mask: Mask, mpp: float) -> Mask:
    """Drop specks before they can join; close cracks, fill holes, take the blur back; cut threads, drop crumbs."""
    mask = close_mask(remove_small(mask, SPECK_UM2 / mpp**2), GAP_UM / mpp)
    # The frame joins all glass along the edge, which is no hole however small its pieces are.
    mask = ~remove_small(np.pad(~mask, 1, constant_values=True), HOLE_UM2 / mpp**2)[1:-1, 1:-1]
    mask = ~dilate_mask(~mask, BLUR_UM / mpp)
    mask = ~close_mask(~mask, THREAD_UM / mpp)
    return remove_small(mask, SPECK_UM2 / mpp**2)


def close_mask(mask: Mask, radius_px: float) -> Mask:
    """Close a mask by a disc of any radius; the complement of a mask is opened so.

    The image goes on beyond its edge as it is there, so glass along an edge is not closed against it.
    """
    rim = int(np.ceil(2 * radius_px)) + 1
    wide = np.pad(mask, rim, mode="edge")
    return np.asarray(~dilate_mask(~dilate_mask(wide, radius_px), radius_px))[rim:-rim, rim:-rim]


def dilate_mask(mask: Mask, radius_px: float) -> Mask:
    """Mark pixels at most `radius_px` from one that is True. Beyond the image's edge, nothing is."""
    # Without any True the transform measures the distance to nowhere.
    return ndimage.distance_transform_edt(~mask) <= radius_px if mask.any() else mask


def remove_small(mask: Mask, least_px: float) -> Mask:
    """Drop connected pieces of fewer than `least_px` pixels, but none that fills a good part of a small image."""
    pieces, _ = ndimage.label(mask)
    large = np.bincount(pieces.ravel()) >= min(least_px, LARGE_SHARE * mask.size)
    # Label 0 is the background.
    large[0] = False
    return large[pieces]
