"""Maps from the command line: on one machine, in shards, again and again."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import spatialdata as sd

from pixnet_sd._sdata import stream
from pixnet_sd.cli import main

OPTIONS = ["--tile-size", "64", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files for the raster of 64 px, so that there is something to share."""
    monkeypatch.setattr(stream, "CHUNKS", (16, 32, 32))


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_slides_one_after_the_other_and_again(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(slide, slide.with_name("b.zarr"))
    command = ["predict", str(slide), "nowhere.zarr", str(other), "--model", model, *OPTIONS]
    assert main([*command, "--shapes", "cells"]) == 2
    out, err = capsys.readouterr()
    first, second, third = out.splitlines()
    assert first.startswith(f"{slide}: done, map he_programmes, tables cells_expression, ")
    assert second.startswith("nowhere.zarr: failed, ")
    assert third.startswith(f"{other}: done, ")
    assert "pixnet-sd: error: nowhere.zarr: nowhere.zarr is not there." in err
    assert {"he_programmes", "cells_expression"} <= {name for _, name, _ in sd.read_zarr(other).gen_elements()}
    before = digests(slide)
    assert main(["predict", str(slide), "--model", model, "--json"]) == 0
    assert said(capsys)[0]["status"] == "already done"
    assert digests(slide) == before


def test_shards_give_the_bytes_of_one_run(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = shutil.copytree(slide, slide.with_name("whole.zarr"))
    assert main(["predict", str(whole), "--model", model, *OPTIONS]) == 0
    command = ["predict", str(slide), "--model", model, *OPTIONS, "--json", "--shard"]
    capsys.readouterr()
    assert main([*command, "1/2"]) == 0
    assert [(one["shard"], one["tiles"]) for one in said(capsys)] == [("1/2", 8)]
    assert main(["finish", str(slide)]) == 2
    assert "missing, of shards 2/2" in capsys.readouterr().err
    assert main([*command, "2/2"]) == 0
    assert main(["finish", str(slide)]) == 0
    assert digests(slide) == digests(whole)
    capsys.readouterr()
    assert main([*command, "2/2"]) == 0
    assert main(["finish", str(slide), "--json"]) == 0
    assert [one["status"] for one in said(capsys)] == ["already done", "already done"]


def test_what_a_shard_cannot_do_is_said(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(slide), "--model", model, "--shard", "1/2", "--shapes", "cells"]) == 2
    assert "give --shapes to finish" in capsys.readouterr().err
    assert main(["finish", str(slide)]) == 2
    assert "nothing to finish" in capsys.readouterr().err
