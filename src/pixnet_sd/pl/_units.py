"""How a unit is written beside a colour bar. Strings only."""

WRITTEN = {
    "counts/um2": "expected counts per µm²",
    "counts": "expected counts",
    "log1p": "log(1 + expression)",
    None: "",
}


def written(unit: str | None) -> str:
    return WRITTEN.get(unit, str(unit))
