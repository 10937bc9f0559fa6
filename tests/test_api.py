"""What is public: importable, listed, documented with an example, and cheap to import."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pixnet_sd as ps

REPOSITORY = Path(__file__).parents[1]
SUBMODULES = [name for name in ps.__all__ if isinstance(getattr(ps, name), ModuleType)]
PUBLIC = [f"pixnet_sd.{name}" for name in ps.__all__ if name not in SUBMODULES]
PUBLIC += [f"pixnet_sd.{module}.{name}" for module in SUBMODULES for name in getattr(ps, module).__all__]


def find(path: str) -> object:
    found: object = ps
    for name in path.split(".")[1:]:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", PUBLIC)
def test_every_public_name_can_be_imported_and_is_in_the_docs(path: str) -> None:
    assert find(path) is not None
    assert path.removeprefix("pixnet_sd.") in (REPOSITORY / "docs" / "api.md").read_text().split()


def test_the_docs_name_nothing_that_is_not_there() -> None:
    lines = (REPOSITORY / "docs" / "api.md").read_text().splitlines()
    named = [line.strip() for line in lines if line.startswith("   ") and ":" not in line and line.strip()]
    assert {f"pixnet_sd.{name}" for name in named} == set(PUBLIC)


def test_the_table_of_parameters_has_each_of_them_once() -> None:
    functions = [found for path in PUBLIC if inspect.isfunction(found := find(path))]
    parameters = {name for function in functions for name in inspect.signature(function).parameters}
    table, own = re.split("Without a counterpart.*?: ", (REPOSITORY / "docs" / "api.md").read_text())
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)`", " ".join([*cells, own.split("\n\n")[0]]))
    assert sorted(named) == sorted(parameters)


@pytest.mark.parametrize("path", [p for p in PUBLIC if inspect.isfunction(find(p))])
def test_every_public_function_has_an_example_and_keyword_only_options(path: str) -> None:
    function = find(path)
    assert ">>> " in (inspect.getdoc(function) or ""), f"{path} has no example"
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]  # type: ignore[arg-type]
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 3
    assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_submodules_and_unknown_names() -> None:
    assert isinstance(ps.pp, ModuleType)
    assert set(ps.__all__) <= set(dir(ps))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ps.nonsense


def test_import_loads_no_heavy_module() -> None:
    code = "import sys, pixnet_sd; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "timm", "scanpy", "anndata", "spatialdata", "numba", "pandas", "numpy", "dask"}


def test_aggregate_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import pixnet_sd as ps; ps.tl.aggregate; ps.pp.tissue"
    subprocess.run([sys.executable, "-c", code], check=True)
