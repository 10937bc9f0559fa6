"""Index of reports: one HTML file that lists the slides of a cohort."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._files import replace_files
from pixnet_sd.pl._draw import page
from pixnet_sd.pl._report import check_file

COLUMNS = ("slide", "tissue mm²", "µm per pixel", "artifacts", "unfamiliar stain", "model", "PCC@M")


def report_index(
    reports: Sequence[str | Path], path: str | Path, *, name: str = "Slides", overwrite: bool = False
) -> None:
    """Write a page that lists reports, with links and the main numbers of each.

    Parameters
    ----------
    reports
        Files that :func:`report` wrote.
    path
        File to write, e.g. ``"index.html"``. Links are relative to it, so the folder may be moved.
    name
        Title.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    PixnetValueError
        If a file is not a report, or `path` exists.

    See Also
    --------
    pixnet_sd.pl.report : Write the report of a slide.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> ps.pl.report_index(["a.html", "b.html"], "index.html")  # doctest: +SKIP
    """
    file = check_file(path, overwrite=overwrite)
    if isinstance(reports, str | Path) or not reports:
        raise PixnetValueError(f"reports must be a list of at least one file; got {reports!r}.")
    found = [read_report(Path(one)) for one in reports]
    links = [quote(Path(os.path.relpath(one, file.parent)).as_posix()) for one in reports]
    table = page.make_table(COLUMNS, [list_numbers(facts) for facts in found], links)
    content = page.make_page(name, [page.make_note(f"{len(found)} slides"), table], {"name": name})
    replace_files(file.parent, {file.name: content.encode()})


def read_report(file: Path) -> dict[str, Any]:
    facts = page.read_facts(file.read_text(encoding="utf-8")) if file.is_file() else None
    if facts is None:
        raise PixnetValueError(f"{str(file)!r} is no report of pl.report.")
    return facts


def list_numbers(facts: dict[str, Any]) -> list[str]:
    numbers = [("tissue_mm2", ".2f"), ("mpp", ".4g"), ("artifacts", ".1%"), ("outlier_share", ".0%")]
    shown = [format(facts[name], how) if facts.get(name) is not None else "" for name, how in numbers]
    score = facts.get("pearson")
    return [str(facts["name"]), *shown, str(facts.get("model") or ""), "" if score is None else f"{score:.3f}"]
