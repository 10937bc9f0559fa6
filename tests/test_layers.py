"""Imports point down only, as docs/design.md draws them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pixnet_sd

PACKAGE = Path(pixnet_sd.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

BOTTOM = {"_errors", "_lazy", "_settings", "_keys", "_files", "_dask", "_frames"}
ARRAYS = BOTTOM | {"_raster", "_metrics"}
EXACT = ARRAYS | {"_zonal"}
FIELDS = EXACT | {"_fields"}
ELEMENTS = EXACT | {"_sdata", "_sdata.storage"}
NETWORK = EXACT | {"nn", "nn.encoders", "nn.network"}
TRAINED = NETWORK | {"nn.inference", "nn.model", "nn.training"}
ALLOWED = {
    **dict.fromkeys(BOTTOM, BOTTOM),
    "_raster": BOTTOM,
    "_metrics": BOTTOM,
    "_zonal": ARRAYS,
    "_fields": EXACT,
    "_sdata": ELEMENTS - {"_sdata.storage"},
    "_sdata.storage": ELEMENTS,
    "nn": EXACT,
    "nn.encoders": EXACT | {"nn"},
    "nn.network": NETWORK - {"nn.network"},
    "nn.inference": NETWORK,
    "nn.model": NETWORK,
    "nn.training": NETWORK | {"nn.inference", "nn.model"},
    "pp": ELEMENTS | {"nn"},
    "io": ELEMENTS,
    "pl": ELEMENTS | {"pl._draw"},
    "pl._draw": ELEMENTS,
    "datasets": ELEMENTS | {"datasets._synthetic"},
    "datasets._synthetic": EXACT,
    "tl": ELEMENTS | FIELDS | TRAINED | {"tl._prediction"},
    "tl._prediction": ELEMENTS | TRAINED,
    "cli": {"_errors", "_settings", "demo"},
    "__main__": {"cli"},
    "demo": BOTTOM,
    "__init__": BOTTOM | TRAINED | {"pp", "tl", "pl", "io", "datasets"},
}
"""From which folders, or files of the root, each may import, itself aside."""

FILES_ONLY = {f"pixnet_sd._sdata.storage.{name}" for name in ("consolidated", "locks", "origin")}
"""Files of `_sdata.storage` that know no elements, so that all of `_sdata` may use them."""

FRAMEWORKS = {
    "torch": {"nn"},
    "timm": {"nn"},
    "openvino": {"nn"},
    "spatialdata": {"_sdata", "pp", "tl", "pl", "io", "datasets", "cli"},
    "spatialdata_io": {"io"},
}

STANDARD_ARRAYS = {"numpy", "numba", "llvmlite", "scipy", "pandas", "dask", "shapely", "matplotlib", "xarray", "zarr"}
KNOWN = STANDARD_ARRAYS | {"torch", "timm", "anndata", "spatialdata", "geopandas", "skimage", "safetensors"}
CLAIM = re.compile(r"(?P<listed>(?:[A-Za-z]+(?:, | and ))*[A-Za-z]+)(?: \([^)]*\))? only\b")
WORDS = {
    "numpy": {"numpy"},
    "numba": {"numpy", "numba", "llvmlite"},
    "scipy": {"numpy", "scipy"},
    "pandas": {"numpy", "pandas"},
    "dask": {"numpy", "dask"},
    "shapely": {"numpy", "shapely"},
    "matplotlib": {"numpy", "matplotlib"},
    "torch": {"torch", "safetensors", "timm", "numpy"},
    "arrays": STANDARD_ARRAYS - {"matplotlib"},
    "numbers": {"numpy", "scipy"},
    "strings": set(),
    "files": set(),
    "values": set(),
}


def folder_of(path: Path) -> str:
    """The folder of a file, with dots; of a file of the root, its own name."""
    parts = path.relative_to(PACKAGE).parts
    return ".".join(parts[:-1]) or parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in FILES}
"""By name. That the package itself is imported, for its version, is no arrow."""


def modules_in(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports."""
    for name in imported(path):
        for candidate in (name, name.rsplit(".", 1)[0]):
            if candidate in MODULES and candidate not in ("pixnet_sd", module_name(path)):
                yield candidate
                break


def roots_in(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def by_path(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=by_path)
def test_imports_point_down(path: Path) -> None:
    own = folder_of(path)
    free = FILES_ONLY if own == "_sdata" else set()
    others = {folder_of(MODULES[name]) for name in modules_in(path) if name not in free}
    assert others - {own} <= ALLOWED[own]


@pytest.mark.parametrize("path", FILES, ids=by_path)
def test_frameworks_stay_behind_their_seam(path: Path) -> None:
    for framework, allowed in FRAMEWORKS.items():
        assert framework not in roots_in(path) or folder_of(path).split(".")[0] in allowed | {"demo"}


@pytest.mark.parametrize("path", FILES, ids=by_path)
def test_a_file_needs_no_more_than_its_head_says(path: Path) -> None:
    """A head that ends with "numpy and numba only." is held to it."""
    head = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    for claim in CLAIM.finditer(head):
        words = set(re.findall(r"[A-Za-z_]+", claim["listed"].lower())) & set(WORDS)
        if words:
            allowed = set.union(*(WORDS[word] for word in words))
            assert not roots_in(path) & (KNOWN - allowed), f"the head says: {claim[0]}"


def test_only_sdata_touches_spatialdata_beyond_the_type() -> None:
    """Elsewhere the class itself may be named in a signature, nothing more."""
    for path in FILES:
        if folder_of(path).split(".")[0] == "_sdata" or path.name == "demo.py":
            continue
        used = {name for name in imported(path) if name.split(".")[0] == "spatialdata"}
        assert used <= {"spatialdata.SpatialData"}, path


def test_no_cycles() -> None:
    graph = {name: set(modules_in(path)) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
