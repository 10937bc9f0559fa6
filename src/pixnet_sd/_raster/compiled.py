"""Compiled functions, cached on disk where there is a place for it. numba only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from numba.core import event

from pixnet_sd._settings import logger

PACKAGE = __name__.partition(".")[0]


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile as numba does, cached unless neither installation nor the user's cache folder can be written."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except (RuntimeError, OSError):  # numba finds no place, or cannot make the one that NUMBA_CACHE_DIR names
            say_once_that_nothing_is_cached()
            return numba.njit(**options)(function)

    return compiled


class CompilationListener(event.Listener):
    """Hears of every function that numba compiles, and of none that it finds in its cache."""

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith(PACKAGE):
            say_once_that_it_compiles()

    def on_end(self, event: Any) -> None:
        """Do nothing; numba asks for the method."""


event.register("numba:compile", CompilationListener())


@cache
def say_once_that_it_compiles() -> None:
    logger.info("compiling, once: the first call takes up to half a minute, later ones find it in numba's cache")


@cache
def say_once_that_nothing_is_cached() -> None:
    logger.warning(
        "compiled code cannot be cached, so each process compiles anew, which takes up to a minute: set "
        "NUMBA_CACHE_DIR to a folder that can be written"
    )
