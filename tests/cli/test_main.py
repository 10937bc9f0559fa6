"""What every command does alike: help, errors in one line, nothing heavy before it is needed, public calls only."""

import ast
import inspect
import operator
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import pixnet_sd as ps
from pixnet_sd import cli
from pixnet_sd._errors import PixnetWarning
from pixnet_sd.cli import COMMANDS, _messages, main


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from pixnet_sd.cli import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {"torch", "numpy", "spatialdata", "dask", "numba", "pandas"}


@pytest.mark.parametrize("file", sorted(Path(cli.__file__).parent.glob("*.py")), ids=lambda file: file.stem)
def test_commands_use_the_public_interface_only(file: Path) -> None:
    """`ps.tl.predict` is public; beside it, only errors and messages of the package are shared."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    private = {name for name in modules if name.startswith("pixnet_sd._")}
    assert private <= {"pixnet_sd._errors", "pixnet_sd._settings"}
    assert all(name.startswith("pixnet_sd.cli") for name in modules - private if name.startswith("pixnet_sd."))
    for node in nodes:
        if isinstance(node, ast.Attribute) and re.fullmatch(r"ps(\.\w+)+", ast.unparse(node)):
            owner = operator.attrgetter(ast.unparse(node.value))(SimpleNamespace(ps=ps))
            assert not inspect.ismodule(owner) or node.attr in owner.__all__, ast.unparse(node)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert f"usage: pixnet-sd {command} [-h]" in told
    assert f"  pixnet-sd {command} " in told.partition("example")[2]


def test_the_help_names_every_command_and_begins_with_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    commands, _, examples = capsys.readouterr().out.partition("examples:")
    assert left.value.code == 0
    assert set(COMMANDS) <= set(commands.split())
    assert examples.split()[:2] == ["pixnet-sd", "demo"]


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "pixnet_sd", "info", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    told = f"pixnet-sd: error: {tmp_path} is no zarr store. Give the path of a SpatialData object that was written to "
    assert (done.returncode, done.stderr) == (2, told + "disk.\n")
    assert main(["predict", str(tmp_path), "--model", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("pixnet-sd: error: There is no model at nowhere.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No image_key was given. Pass image_key=... with one", "No --image was given. Pass --image ... with one"),
        ("shapes_key='cels' is not there", "--shapes 'cels' is not there"),
        ("Pass overwrite=True, or another image_key_added", "Pass --overwrite, or another image_key_added"),
        ("Add --overwrite; my_image_key=1", "Add --overwrite; my_image_key=1"),
    ],
)
def test_arguments_are_named_as_the_options_that_they_are(text: str, told: str) -> None:
    assert _messages.fold_lines(text) == told


def test_the_script_that_is_installed_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"pixnet-sd": f"{main.__module__}:{main.__name__}"}


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_shard_that_cannot_be_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["predict", "a.zarr", "--model", "m", f"--shard={text}"])
    assert left.value.code == 2
    assert f"{text!r} is not I/N with I from 1 to N" in capsys.readouterr().err


def test_warnings_are_one_line_and_those_of_others_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with _messages.in_one_line():
        warnings.warn("first\nsecond", PixnetWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "pixnet-sd: warning: first second\n"
