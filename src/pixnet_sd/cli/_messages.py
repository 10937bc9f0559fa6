"""Errors and warnings on stderr, one line each, with arguments of calls named as options of the commands."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pixnet_sd._errors import PixnetWarning, one_line

OPTIONS = {
    "image_key": "--image",
    "raster_key": "--raster",
    "shapes_key": "--shapes",
    "table_key": "--table",
    "tissue_key": "--tissue",
    "predicted_key": "--predicted",
    "measured_key": "--measured",
    "key_added": "--table",
    "tile_size": "--tile-size",
    "batch_size": "--batch-size",
}
FLAGS = {"overwrite=True": "--overwrite", "allow_upsample=True": "--allow-upsample", "resume=False": "--restart"}
ARGUMENT = re.compile(rf"\b(?:({'|'.join(OPTIONS)})\b(=?)|({'|'.join(FLAGS)})\b)")


def print_error(error: object, of: str | None = None) -> None:
    print(f"pixnet-sd: error: {'' if of is None else f'{of}: '}{fold_lines(error)}", file=sys.stderr)


def fold_lines(error: object) -> str:
    return one_line(name_options(" ".join(str(error).split())))


def name_options(text: str) -> str:
    """Name arguments as options: `image_key='he'` becomes `--image 'he'`."""
    return ARGUMENT.sub(lambda found: FLAGS[found[3]] if found[3] else OPTIONS[found[1]] + (found[2] and " "), text)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Warnings of this package without their place in the code; those of others are for programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PixnetWarning)
        warnings.showwarning = show_warning
        logging.getLogger("ome_zarr").setLevel(logging.ERROR)
        yield


def show_warning(message: object, *_: Any, **__: Any) -> None:
    print(f"pixnet-sd: warning: {fold_lines(message)}", file=sys.stderr)
