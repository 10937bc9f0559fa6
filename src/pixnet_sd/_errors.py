"""The package's exceptions: one family, each member also the builtin that a caller would expect.

Every message says what was asked, what was found, and what to do.
"""

from __future__ import annotations

import sys
import warnings
from traceback import walk_stack


class PixnetError(Exception):
    """Any error that pixnet-sd raises on purpose."""


class PixnetValueError(PixnetError, ValueError):
    """An input has the right type but a value that cannot be right."""


class PixnetTypeError(PixnetError, TypeError):
    """An input is of a kind that is not handled."""


class PixnetKeyError(PixnetError, KeyError):
    """An element, gene or name was asked for that is not there, is ambiguous, or exists already."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would hide the line breaks of a helpful message.
        return str(self.args[0])


class PixnetRuntimeError(PixnetError, RuntimeError):
    """The work could not be done here: no space, no right to write, an interrupted store."""


class PixnetWarning(UserWarning):
    """Something was found that changes what a result means."""


def warn(message: str) -> None:
    """Warn with a `PixnetWarning` that points at the line outside of the package which led here."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_stack(sys._getframe())]
    # The outermost of our frames, since contextlib and thread pools stand in between; `skip_file_prefixes` of the
    # standard library would stop at those, and needs Python 3.12.
    outermost = max(level for level, name in enumerate(names, start=1) if name.partition(".")[0] == "pixnet_sd")
    warnings.warn(message, PixnetWarning, stacklevel=outermost + 1)


def one_line(text: object) -> str:
    """Return the text on one line: line breaks become spaces, control characters are escaped."""
    return "".join(map(shown, str(text)))


def shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()
