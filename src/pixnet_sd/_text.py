"""Text from files, made safe to print. Knows nothing else."""

from __future__ import annotations


def one_line(text: object) -> str:
    """The text on one line: line breaks become spaces, and control characters are shown instead of obeyed."""
    return "".join(map(shown, str(text)))


def shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()
