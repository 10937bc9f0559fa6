"""Errors for names that are not there, with those that look like them. Strings only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pixnet_sd._errors import PixnetKeyError, PixnetValueError


def as_list(names: str | Sequence[str], argument: str) -> list[str]:
    """One name or several, at least one."""
    found = [names] if isinstance(names, str) else list(names)
    if not found:
        raise PixnetValueError(f"{argument} is empty; name at least one.")
    return found


def require_known(names: Sequence[str], available: Iterable[str], place: str) -> None:
    known = list(map(str, available))
    present = set(known)
    missing = [name for name in names if name not in present]
    if missing:
        raise PixnetKeyError(
            f"{missing[0]!r} is not in {place}, which holds {len(known)} names. {resembling(missing[0], known)}"
        )


def resembling(name: str, known: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in known}
    close = [folded[match] for match in get_close_matches(name.casefold(), list(folded), n=5, cutoff=0.6)]
    if close:
        return f"Did you mean {', '.join(map(repr, close))}?"
    return f"The first are {', '.join(map(repr, known[:5]))}."
