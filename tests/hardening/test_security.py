"""Data and model files never execute code: the package does not even name what could."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pixnet_sd

PACKAGE = Path(pixnet_sd.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "subprocess", "commands", "pty"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"torch.load", "torch.hub.load", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen", "pandas.read_pickle"}
CALLS |= {"pd.read_pickle", "tempfile.mktemp", "torch.package.PackageImporter", "zipfile.ZipFile.extractall"}
OPTIONS = {"trust_remote_code": False, "shell": False, "allow_pickle": False, "verify": True, "weights_only": True}
"""The only value that each keyword may have."""
PINNED = {Path("nn", "encoders", "fetch.py"): ["torch.load()"]}
"""Opened there: pickles of foundation models whose sha256 is in the source, and no others (tests/nn/encoders)."""


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {one.name}" for one in node.names if one.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            yield from dangerous_call(node)


def dangerous_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    if name in CALLS or (isinstance(node.func, ast.Name) and name in BUILTINS):
        yield f"{name}()"
    for keyword in node.keywords:
        if keyword.arg in OPTIONS and getattr(keyword.value, "value", None) is not OPTIONS[keyword.arg]:
            yield f"{name}({keyword.arg}={ast.unparse(keyword.value)})"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_that_could_run_what_a_file_says(path: Path) -> None:
    found = list(dangers(ast.parse(path.read_text())))
    assert found == PINNED.get(path.relative_to(PACKAGE), []), f"{path.relative_to(PACKAGE)} has {found}"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "eval(text)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "run(command, shell=flag)",
        "create(name, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(dangers(ast.parse(code)))


def test_there_is_no_pickle_among_the_files_of_the_package() -> None:
    suffixes = {path.suffix for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy"}
    for path in PACKAGE.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as held:
            assert all(held[name].dtype.kind != "O" for name in held.files)
