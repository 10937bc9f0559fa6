"""The H&E image below what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata.drawing import PlacedPicture, rgb_picture
from pixnet_sd.pl._draw.canvas import Panel
from pixnet_sd.pl._draw.theme import DARK, Theme
from pixnet_sd.pl._draw.view import MapView

STYLES = ("grey", "colour")
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
PALER = 0.35
"""How far grey H&E is moved towards the paper, so that colours over it are told apart by their lightness."""


@dataclass(frozen=True)
class Backdrop:
    """How the H&E is shown."""

    over: bool
    """Show it at all."""
    style: str
    value_range: tuple[float, float] | None = None
    """Black and white of an image that is not uint8."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise PixnetValueError(f"he={self.style!r} is unknown; use one of {STYLES}.")


def read_backdrop(
    sdata: SpatialData, view: MapView, backdrop: Backdrop, panel: Panel, theme: Theme
) -> PlacedPicture | None:
    if not backdrop.over:
        return None
    picture = rgb_picture(sdata, view.image_key, view.box, panel.width_px, backdrop.value_range)
    return picture if backdrop.style == "colour" else PlacedPicture(to_grey(picture.data, theme), picture.to_image)


def to_grey(rgb: np.ndarray, theme: Theme) -> np.ndarray:
    """Pale on white; on a dark figure the negative, nuclei bright on dark glass."""
    stained = (1 - np.tensordot(LUMINANCE, rgb, axes=(0, 0))) * np.float32(1 - PALER)
    return np.broadcast_to(stained if theme is DARK else 1 - stained, rgb.shape)


def draw_backdrop(ax: Axes, picture: PlacedPicture | None) -> None:
    if picture is not None:
        place_image(ax, np.clip(picture.data.transpose(1, 2, 0), 0, 1), picture.to_image, zorder=0)


def place_image(ax: Axes, image_yxc: np.ndarray, to_image: np.ndarray, **style: object) -> AxesImage:
    """An array in its place, also where it is turned or sheared against the frame."""
    height, width = image_yxc.shape[:2]
    drawn = ax.imshow(image_yxc, extent=(0, width, height, 0), aspect="equal", **style)  # type: ignore[arg-type]
    drawn.set_transform(Affine2D(to_image) + ax.transData)
    return drawn
