"""Names of elements: how a result is called, and how a key is found that the user left out. Strings only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pixnet_sd._errors import PixnetKeyError


def expression_key(element_key: str) -> str:
    """Of the table for shapes, and of the image of genes for an image."""
    return f"{element_key}_expression"


def programmes_key(image_key: str) -> str:
    """Of the image element that stores a factorised map."""
    return f"{image_key}_programmes"


def loadings_key(programmes: str) -> str:
    """Of the table (programmes x genes) beside the programmes."""
    return f"{programmes}_loadings"


def tissue_key(image_key: str) -> str:
    """Of the tissue labels; squidpy uses the same name."""
    return f"{image_key}_tissue"


def choose(kind: str, asked: str | None, found: Iterable[str], argument: str) -> str:
    """`asked` if it is among `found`; with nothing asked, the only one there is."""
    names = list(found)
    listing = ", ".join(map(repr, names)) or "none"
    if asked is None:
        if len(names) == 1:
            return names[0]
        problem = "there are none" if not names else f"there are {len(names)}: {listing}"
        raise PixnetKeyError(f"No {argument} was given, and {problem} ({kind}). Pass {argument}=... with one of them.")
    if asked not in names:
        raise PixnetKeyError(f"{argument}={asked!r} is not among the {kind}: {listing}.")
    return asked


def require_free(wanted: Sequence[str], taken: Iterable[str], *, overwrite: bool) -> None:
    """Refuse names that exist already, unless they may be overwritten."""
    clashes = sorted(set(wanted) & set(taken))
    if clashes and not overwrite:
        raise PixnetKeyError(
            f"The result would replace {', '.join(map(repr, clashes))}. "
            "Pass overwrite=True to replace, or another name to keep both."
        )
