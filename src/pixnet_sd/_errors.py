"""The package's exceptions: one family, each member also the builtin that a caller would expect.

Knows nothing else. Every message says what was asked, what was found, and what to do.
"""


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
