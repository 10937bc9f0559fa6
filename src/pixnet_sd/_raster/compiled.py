"""Compiled functions, cached on disk where there is a place for it. numba only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba

from pixnet_sd._settings import logger


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile as numba does, cached unless neither installation nor the user's cache folder can be written."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except (RuntimeError, OSError):  # numba finds no place, or cannot make the one that NUMBA_CACHE_DIR names
            say_once_that_nothing_is_cached()
            return numba.njit(**options)(function)

    return compiled


@cache
def say_once_that_nothing_is_cached() -> None:
    logger.warning(
        "compiled code cannot be cached, so each process compiles anew, which takes up to a minute: set "
        "NUMBA_CACHE_DIR to a folder that can be written"
    )
