"""Names of elements: how a result is called, and how a key is found that the user left out. Strings only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pixnet_sd._errors import PixnetKeyError, PixnetValueError


def expression_key(element_key: str) -> str:
    """Name the table of a shapes element, or the image of genes of an image."""
    return f"{element_key}_expression"


def programs_key(image_key: str) -> str:
    """Name the image element that stores a factorised map."""
    return f"{image_key}_programs"


def loadings_key(programs: str) -> str:
    """Name the table (programs x genes) beside the programs."""
    return f"{programs}_loadings"


def tissue_key(image_key: str) -> str:
    """Name the tissue labels; squidpy uses the same name."""
    return f"{image_key}_tissue"


def resolve_key(kind: str, asked: str | None, found: Iterable[str], argument: str) -> str:
    """Return `asked` if it is among `found`; if None, the only one there is."""
    names = list(found)
    listing = ", ".join(map(repr, names)) or "none"
    if asked is None:
        if len(names) == 1:
            return names[0]
        if not names:
            raise PixnetKeyError(f"No {argument} was given, and there are none: the object holds no {kind} to take.")
        problem = f"there are {len(names)}: {listing} ({kind})"
        raise PixnetKeyError(f"No {argument} was given, and {problem}. Pass {argument}=... with one of them.")
    if asked not in names:
        raise PixnetKeyError(f"{argument}={asked!r} is not among the {kind}: {listing}.{suggest_names(asked, names)}")
    return asked


def check_free(wanted: Sequence[str], taken: Iterable[str], *, overwrite: bool) -> None:
    """Refuse names that exist already, unless they may be overwritten."""
    clashes = sorted(set(wanted) & set(taken))
    if clashes and not overwrite:
        raise PixnetKeyError(
            f"The result would replace {', '.join(map(repr, clashes))}. "
            "Pass overwrite=True to replace, or another name to keep both (key_added; in tl.predict, image_key_added)."
        )


def as_list(names: str | Sequence[str], argument: str) -> list[str]:
    """Return one name or several as a list; at least one is needed."""
    found = [names] if isinstance(names, str) else list(names)
    if not found:
        raise PixnetValueError(f"{argument} is empty; name at least one.")
    return found


def check_known(names: Sequence[str], available: Iterable[str], place: str) -> None:
    """Check that all names are available; `place` is where they were looked up."""
    known = list(map(str, available))
    present = set(known)
    missing = [name for name in names if name not in present]
    if missing:
        hint = suggest_names(missing[0], known) or f" The first are {', '.join(map(repr, known[:5]))}."
        raise PixnetKeyError(f"{missing[0]!r} is not in {place}, which holds {len(known)} names.{hint}")


def suggest_names(name: object, known: Iterable[str]) -> str:
    """Ask "Did you mean ...?" with the names that are close to `name`, after a space; empty without any."""
    # Without regard to case, since symbols of mouse and human genes differ by it alone.
    folded = {other.casefold(): other for other in map(str, known)}
    close = [folded[match] for match in get_close_matches(str(name).casefold(), list(folded), n=5, cutoff=0.6)]
    return f" Did you mean {', '.join(map(repr, close))}?" if close else ""
