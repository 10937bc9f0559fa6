"""The H&E image in the background of a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import suggest_names
from pixnet_sd._sdata.drawing import PlacedPicture, rgb_picture
from pixnet_sd.pl._draw.canvas import Panel
from pixnet_sd.pl._draw.theme import DARK, Theme
from pixnet_sd.pl._draw.view import MapView

HeStyle = Literal["gray", "color"]
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
PALER = 0.35
"""How far gray H&E is moved towards the background, so that colors over it stay distinguishable by lightness."""


@dataclass(frozen=True)
class Backdrop:
    """How the H&E is drawn."""

    over: bool
    """Draw it at all."""
    style: HeStyle
    value_range: tuple[float, float] | None = None
    """Intensity range (black, white) of an image that is not uint8."""

    def __post_init__(self) -> None:
        known = get_args(HeStyle)
        if self.style not in known:
            raise PixnetValueError(
                f"he={self.style!r} is unknown; use one of {known}.{suggest_names(self.style, known)}"
            )


def read_backdrop(
    sdata: SpatialData, view: MapView, backdrop: Backdrop, panel: Panel, theme: Theme
) -> PlacedPicture | None:
    if not backdrop.over:
        return None
    picture = rgb_picture(sdata, view.image_key, view.box, panel.width_px, backdrop.value_range)
    return picture if backdrop.style == "color" else PlacedPicture(to_gray(picture.data, theme), picture.to_image)


def to_gray(rgb: np.ndarray, theme: Theme) -> np.ndarray:
    """Convert to pale gray; on a dark figure to the negative, with bright nuclei on dark glass."""
    stained = (1 - np.tensordot(LUMINANCE, rgb, axes=(0, 0))) * np.float32(1 - PALER)
    return np.broadcast_to(stained if theme is DARK else 1 - stained, rgb.shape)


def draw_backdrop(ax: Axes, picture: PlacedPicture | None) -> None:
    if picture is not None:
        place_image(ax, np.clip(picture.data.transpose(1, 2, 0), 0, 1), picture.to_image, zorder=0)


def place_image(ax: Axes, image_yxc: np.ndarray, to_image: np.ndarray, **style: object) -> AxesImage:
    """Draw an array at its place, also where it is rotated or sheared relative to the axes."""
    height, width = image_yxc.shape[:2]
    drawn = ax.imshow(image_yxc, extent=(0, width, height, 0), aspect="equal", **style)  # type: ignore[arg-type]
    drawn.set_transform(Affine2D(to_image) + ax.transData)
    return drawn
