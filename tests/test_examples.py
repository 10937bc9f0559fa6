"""The example in every public docstring runs and gives what it says."""

import doctest
import inspect
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest

import pixnet_sd as ps

MODULES = {name: getattr(ps, name) for name in ps.__all__}
FUNCTIONS = {name: found for name, found in MODULES.items() if inspect.isfunction(found)} | {
    f"{module}.{name}": getattr(found, name)
    for module, found in MODULES.items()
    if isinstance(found, ModuleType)
    for name in found.__all__
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ps.settings, "progress", False)
    mpl.use("Agg")
    (example,) = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name, globs={})
    found: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=found.append)
    assert not result.failed, "".join(found)
