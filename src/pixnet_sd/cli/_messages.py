"""What goes to stderr: errors and warnings, one line each."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pixnet_sd._errors import PixnetWarning, one_line


def print_error(error: object, of: str | None = None) -> None:
    print(f"pixnet-sd: error: {'' if of is None else f'{of}: '}{fold_lines(error)}", file=sys.stderr)


def fold_lines(error: object) -> str:
    return one_line(" ".join(str(error).split()))


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
