"""The same work on several objects, where one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError
from pixnet_sd._settings import logger


def for_each_slide(work: Callable[[SpatialData], Any], slides: Sequence[SpatialData], *, inplace: bool) -> Any:
    """What the work gives for each, or None in place; the errors come together, after the last one."""
    results, errors = [], {}
    for number, slide in enumerate(slides, 1):
        try:
            results.append(work(slide))
        except Exception as error:  # noqa: BLE001 - it is raised below, with the others
            logger.warning("%s failed; the next one follows", slide_name(number, slide))
            errors[slide_name(number, slide)] = error
    if errors:
        told = "".join(f"\n- {which}: {type(error).__name__}: {error}" for which, error in errors.items())
        raise PixnetRuntimeError(
            f"{len(errors)} of {len(slides)} slides could not be predicted; {outcome_text(inplace=inplace)}{told}"
        ) from ExceptionGroup("one for each of these slides", [*errors.values()])
    return None if inplace else results


def outcome_text(*, inplace: bool) -> str:
    """What became of the other slides."""
    if inplace:
        return "the others are done."
    return (
        "with inplace=False nothing is kept of the others. Call it again without these slides, or with inplace=True, "
        "which keeps what is done."
    )


def slide_name(number: int, slide: object) -> str:
    path = getattr(slide, "path", None)
    return f"slide {number}" if path is None else f"slide {number} ({path})"
