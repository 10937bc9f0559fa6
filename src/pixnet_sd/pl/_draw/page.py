"""One HTML page without scripts and links: its parts as text, and facts that other pages read from it. Strings only."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

Row = tuple[str, str]
FACTS = re.compile(r'<meta name="pixnet-sd" content="([^"]*)">')
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="pixnet-sd" content="$facts">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1000px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 2em 0 .5em; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; display: block; margin: .5em 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15em 1.2em .15em 0; vertical-align: top; } th { font-weight: 600; }
thead th { border-bottom: 1px solid #999; } p.note { color: #666; } p.alert { color: #a11; font-weight: 600; }
pre { font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { max-width: none; margin: 0; } h2, img, tr { break-inside: avoid; } h2 { break-after: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def make_page(title: str, sections: Iterable[str], facts: Mapping[str, Any]) -> str:
    """Compose a page; `title` and `facts` are escaped here, sections as they are made."""
    body = "\n".join(filter(None, sections))
    return PAGE.substitute(title=html.escape(title), facts=html.escape(json.dumps(facts)), body=body)


def read_facts(page: str) -> dict[str, Any] | None:
    """Read the facts of a page; None if it is another one."""
    found = FACTS.search(page)
    return None if found is None else dict(json.loads(html.unescape(found[1])))


def make_section(title: str, *parts: str) -> str:
    """Compose a section; empty without any part."""
    return "\n".join([f"<h2>{html.escape(title)}</h2>", *filter(None, parts)]) if any(parts) else ""


def make_facts(rows: Sequence[Row]) -> str:
    """Make a table of two columns, name and value."""
    return make_rows([f"<th>{html.escape(name)}</th><td>{html.escape(value)}</td>" for name, value in rows])


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    """Make a table; the first cells of its rows lead to `links`."""
    cells = [[html.escape(cell) for cell in row] for row in rows]
    for row, link in zip(cells, links, strict=bool(links)):
        row[0] = f'<a href="{html.escape(link)}">{row[0]}</a>'
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = make_rows([f"<td>{'</td><td>'.join(row)}</td>" for row in cells])
    return body.replace("<table>", f"<table><thead><tr>{head}</tr></thead>")


def make_rows(rows: Sequence[str]) -> str:
    return "<table>" + "".join(f"<tr>{row}</tr>\n" for row in rows) + "</table>"


def make_note(text: str, *, alert: bool = False) -> str:
    return f'<p class="{"alert" if alert else "note"}">{html.escape(text)}</p>'


def make_picture(jpeg: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def make_details(title: str, text: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"
