"""Imports point down only, as docs/design.md draws them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pixnet_sd

PACKAGE = Path(pixnet_sd.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = {"pp", "tl", "pl", "io", "datasets", "_sdata", "nn", "cli"}
NOT_TO_BE_IMPORTED = {
    "pp": {"tl", "pl", "io", "datasets", "demo"},
    "tl": {"pp", "pl", "io", "datasets", "demo"},
    "pl": {"pp", "tl", "io", "datasets", "nn", "demo"},
    "io": {"pp", "tl", "pl", "datasets", "nn", "demo"},
    "datasets": {"pp", "tl", "pl", "io", "nn", "demo"},
    "_sdata": {"pp", "tl", "pl", "io", "datasets", "nn", "demo"},
    "nn": {"pp", "tl", "pl", "io", "datasets", "_sdata", "demo"},
    "cli": set(),
    "bottom": {"pp", "tl", "pl", "io", "datasets", "_sdata", "nn", "demo"},
}
FRAMEWORKS = {
    "torch": {"nn"},
    "timm": {"nn"},
    "spatialdata": {"_sdata", "pp", "tl", "pl", "io", "datasets"},
    "spatialdata_io": {"io"},
}


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return first if first in LAYERS | {"__init__", "__main__", "demo"} else "bottom"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    forbidden = NOT_TO_BE_IMPORTED.get(layer_of(path), set())
    inner = {name.split(".")[1] for name in imported(path) if name.startswith("pixnet_sd.")}
    assert not inner & forbidden


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_frameworks_stay_behind_their_seam(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    for framework, allowed in FRAMEWORKS.items():
        assert framework not in roots or layer_of(path) in allowed | {"demo"}


def test_only_sdata_touches_spatialdata_beyond_the_type() -> None:
    """Elsewhere the class itself may be named in a signature, nothing more."""
    for path in FILES:
        if layer_of(path) == "_sdata" or path.name == "demo.py":
            continue
        used = {name for name in imported(path) if name.split(".")[0] == "spatialdata"}
        assert used <= {"spatialdata.SpatialData"}, path


def test_no_cycles() -> None:
    graph = {module_name(path): set(modules_in(path)) for path in FILES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules_in(path: Path) -> Iterator[str]:
    known = {module_name(file) for file in FILES} - {"pixnet_sd"}
    for name in imported(path):
        for candidate in (name, name.rsplit(".", 1)[0]):
            if candidate in known and candidate != module_name(path):
                yield candidate
                break
