"""`pixnet-sd run`: from files to tables and reports, again and again; it calls what is public."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
import tifffile
from files import digests

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _sources, main
from pixnet_sd.cli import run as command
from pixnet_sd.cli._sources import Source, find_sources


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def folder(slide: Path) -> Path:
    """A store, a broken scan, an empty one, and notes."""
    folder = slide.parent / "in"
    folder.mkdir()
    slide.rename(folder / "a.zarr")
    (folder / "broken.tif").write_bytes(b"II*\0 and nothing else")
    (folder / "empty.svs").touch()
    (folder / "notes").mkdir()
    return folder


def test_a_folder_is_done_once_and_errors_stop_nothing(
    folder: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "out", digests(folder)
    call = ["run", str(folder), "--model", model, "--out", str(out), "--bins", "16", "--no-quality", "--json"]
    assert main([*call, "--dry-run"]) == 2
    planned = said(capsys)
    assert [one["status"] for one in planned] == ["planned", "failed", "failed"]
    assert planned[0]["steps"] == ["tissue", "map", "bins_16um", "tables", "report"]
    assert not out.exists()

    with monkeypatch.context() as patch:
        patch.setattr(ps.pl, "report", interrupt)
        assert main(call) == 130
    assert main(call) == 2
    done = said(capsys)
    assert [one["status"] for one in done] == ["done", "failed", "failed"]
    stored = {name for _, name, _ in sd.read_zarr(out / "a.zarr").gen_elements()}
    assert {"he_tissue", "he_programs", "bins_16um_expression", "cells_expression"} <= stored
    assert 'href="a.html"' in (out / "index.html").read_text()

    written = digests(out)
    assert main(call) == 2
    assert [one["status"] for one in said(capsys)] == ["already done", "failed", "failed"]
    assert digests(out) == written
    assert digests(folder) == before
    assert main(["run", str(folder / "a.zarr"), "--model", model, "--out", str(out)]) == 2
    assert "bins was [16.0], now []" in capsys.readouterr().err


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_sheet_says_what_files_do_not(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.full((64, 64, 3), 200, np.uint8), photometric="rgb")
    sheet = tmp_path / "slides.csv"
    sheet.write_text("path,mpp,shapes,patient\nscan.tif,0.5,cells.geojson,P1\nother.tif,,,P2\n")
    first, second = find_sources([str(sheet)], mpp=0.25)
    assert first == Source(str(tmp_path / "scan.tif"), 0.5, None, str(tmp_path / "cells.geojson"))
    assert second == Source(str(tmp_path / "other.tif"), 0.25)
    assert ps.pp.mpp(first.read()) == 0.5
    with pytest.raises(PixnetValueError, match="no image at .*other.tif"):
        second.read()


def test_paths_are_found_once(folder: Path) -> None:
    stars = find_sources([str(folder / "*.zarr"), str(folder)], None)
    assert [Path(one.path).name for one in stars] == ["a.zarr", "broken.tif", "empty.svs"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,mpp\na.tif,1\n", "the column 'path'"),
        ("path,mpp\na.tif,half\n", "mpp is 'half', which is no number"),
        ("path,mpp\na.tif,1\n,1\n", "line 3: there is no path"),
    ],
)
def test_a_sheet_that_cannot_be_right_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(PixnetValueError, match=message):
        find_sources([str(tmp_path / "slides.csv")], None)


def test_a_folder_without_slides_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PixnetValueError, match="none of its 1 entries"):
        find_sources([str(tmp_path)], None)


@pytest.mark.parametrize("module", [command, _sources])
def test_it_calls_public_functions_only(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    called = [
        (node.value.attr, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "ps"
    ]
    assert called
    assert all(name in getattr(ps, folder).__all__ for folder, name in called if folder != "Model")
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name for name in imported if name and name.startswith("pixnet_sd.")}
    assert own <= {f"pixnet_sd.{name}" for name in ("_errors", "cli", "cli._slides", "cli._sources", "cli._tables")} | {
        "pixnet_sd.cli.evaluate"
    }
