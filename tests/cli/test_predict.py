"""Maps from the command line: on one machine, in shards, again and again."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
from files import digests

import pixnet_sd as ps
from pixnet_sd._sdata.storage import growing
from pixnet_sd.cli import _slides, main
from pixnet_sd.nn.model.model import Model

OPTIONS = ["--tile-size", "64", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four files for the raster of 64 px, so that there is something to share."""
    monkeypatch.setattr(growing, "CHUNKS", (16, 32, 32))


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_slides_one_after_the_other_and_again(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(slide, slide.with_name("b.zarr"))
    command = ["predict", str(slide), "nowhere.zarr", str(other), "--model", model, *OPTIONS]
    assert main([*command, "--shapes", "cells"]) == 2
    out, err = capsys.readouterr()
    first, second, third = out.splitlines()
    assert first.startswith(f"{slide}: done, map he_programs, tables cells_expression, ")
    assert second.startswith("nowhere.zarr: failed, ")
    assert third.startswith(f"{other}: done, ")
    assert "pixnet-sd: error: nowhere.zarr: nowhere.zarr is not there." in err
    assert {"he_programs", "cells_expression"} <= {name for _, name, _ in sd.read_zarr(other).gen_elements()}
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


def test_a_table_follows_its_map(slide: Path, model: str, other_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", str(slide), "--json", *OPTIONS, "--model"]
    assert main([*command, model, "--shapes", "cells"]) == 0
    assert made(slide)["sha256"] == Model.load(model).sha256
    assert main([*command, other_model, "--overwrite"]) == 0
    assert main([*command, other_model, "--shapes", "cells"]) == 0
    assert made(slide)["sha256"] == Model.load(other_model).sha256
    before = digests(slide)
    assert main([*command, other_model, "--shapes", "cells", "--shapes", "cells"]) == 0
    assert [(one["status"], one["tables"]) for one in said(capsys)] == [
        ("done", ["cells_expression"]),
        ("done", []),
        ("done", ["cells_expression"]),
        ("already done", []),
    ]
    assert digests(slide) == before


def test_a_table_follows_a_map_that_the_same_model_made_otherwise(slide: Path, model: str) -> None:
    command = ["predict", str(slide), "--model", model, *OPTIONS]
    assert main([*command, "--shapes", "cells"]) == 0
    assert main([*command, "--augment", "--overwrite"]) == 0
    assert main([*command, "--augment", "--shapes", "cells"]) == 0
    sdata = sd.read_zarr(slide)
    expected = ps.tl.aggregate(sdata, "cells", raster_key="he_programs", inplace=False, progress=False)
    np.testing.assert_array_equal(sdata["cells_expression"].X, expected.X)


def made(slide: Path) -> dict[str, Any]:
    return dict(sd.read_zarr(slide)["cells_expression"].uns["pixnet_sd"])


def test_a_table_of_the_map_that_is_gone_is_made_anew(slide: Path, model: str, other_model: str) -> None:
    command = ["predict", str(slide), *OPTIONS, "--shapes", "cells", "--model"]
    assert main([*command, model]) == 0
    sdata = sd.read_zarr(slide)
    for key in ("he_programs", "he_programs_loadings"):
        del sdata[key]
        sdata.delete_element_from_disk(key)
    assert main([*command, other_model]) == 0
    assert made(slide)["sha256"] == Model.load(other_model).sha256


def test_a_table_that_is_not_of_the_map_stays(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    sdata = sd.read_zarr(slide)
    ps.tl.aggregate(sdata, "cells", raster_key="he", statistic="mean", progress=False)
    ps.tl.aggregate(sdata, "bins_8um", raster_key="he", statistic="mean", progress=False)
    foreign = sdata["bins_8um_expression"].copy()
    del foreign.uns["pixnet_sd"], sdata["bins_8um_expression"]
    sdata.delete_element_from_disk("bins_8um_expression")
    sdata["bins_8um_expression"] = foreign
    sdata.write_element("bins_8um_expression")
    before = digests(slide)
    command = ["predict", str(slide), "--model", model, *OPTIONS, "--shapes"]
    assert main([*command, "cells"]) == 2
    assert "'cells_expression', which was made from 'he', by one from 'he_programs'. Add --overwrite" in error(capsys)
    assert main([*command, "bins_8um"]) == 2
    assert "which was not made from a map by pixnet-sd" in error(capsys)
    assert digests(slide) == before
    assert main([*command, "cells", "--overwrite"]) == 0
    assert made(slide)["raster"] == "he_programs"


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_mistyped_shapes_are_told_before_the_map_is_made(
    slide: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(slide)
    assert main(["predict", str(slide), "--model", model, *OPTIONS, "--shapes", "cels"]) == 2
    assert "'cels' is not among the shapes: " in error(capsys)
    assert main(["predict", str(slide), "--model", model, *OPTIONS, "--shard", "1/1"]) == 0
    assert main(["finish", str(slide), "--shapes", "cels"]) == 2
    assert digests(slide) == before


def test_finish_keeps_the_tables_of_others(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    ps.tl.aggregate(sd.read_zarr(slide), "cells", raster_key="he", statistic="mean", progress=False)
    assert main(["predict", str(slide), "--model", model, *OPTIONS, "--shard", "1/1"]) == 0
    before = digests(slide)
    finish = ["finish", str(slide), "--json", "--shapes", "cells"]
    assert main(finish) == 2
    assert "Add --overwrite" in error(capsys)
    assert digests(slide) == before
    assert main([*finish, "--overwrite"]) == 0
    assert main(finish) == 0
    assert [(one["status"], one["maps"], one["tables"]) for one in said(capsys)] == [
        ("done", ["he_programs"], ["cells_expression"]),
        ("already done", [], []),
    ]


def test_finish_pools_one_map_only(slide: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    sdata = sd.read_zarr(slide)
    for name in ("he", "second"):
        ps.tl.predict(sdata, "he", model=model, image_key_added=name if name != "he" else None, progress=False)
    assert main(["finish", str(slide), "--shapes", "cells"]) == 2
    assert "there are 2: 'he_programs', 'second_programs'. Leave --shapes out" in error(capsys)
    assert main(["finish", str(slide)]) == 0


def test_a_slide_never_takes_the_shards_of_one_whose_name_begins_like_its_own(slide: Path, model: str) -> None:
    longer = shutil.copytree(slide, slide.with_name("a.zarr.old"))
    assert main(["predict", str(longer), "--model", model, *OPTIONS, "--shard", "1/1"]) == 0
    before = digests(slide)
    assert main(["finish", str(slide)]) == 2
    assert digests(slide) == before
    assert main(["predict", str(slide), "--model", model, *OPTIONS]) == 0
    assert main(["finish", str(longer)]) == 0
    assert "he_programs" in sd.read_zarr(longer).images


def test_a_map_that_was_made_otherwise_is_not_taken_for_what_is_asked(
    slide: Path, model: str, other_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(slide), *OPTIONS, "--model"]
    assert main([*command, model]) == 0
    marked = sd.read_zarr(slide)
    tissue = ps.pp.tissue(marked, inplace=False)
    tissue[:8] = 0
    marked["marked"] = tissue
    marked.write_element("marked")
    before = digests(slide)
    for options, told in [
        ([other_model], "not by 'tiny' ("),
        ([model, "--mpp", "0.4"], "taken to have 0.5 µm per pixel, not 0.4 (mpp)"),
        ([model, "--augment"], "made with augment=False"),
        ([model, "--tissue", "marked"], "(--tissue)"),
        ([model, "--augment", "--shard", "1/2"], "made with augment=False"),
    ]:
        assert main([*command, *options]) == 2
        assert told in error(capsys)
    assert digests(slide) == before
    assert main([*command, model, "--tile-size", "32", "--mpp", "0.5"]) == 0
    assert digests(slide) == before
    assert main([*command, model, "--augment", "--overwrite"]) == 0
    assert main([*command, model, "--augment"]) == 0
    assert main([*command, model]) == 2


def test_whatever_goes_wrong_with_one_slide_the_others_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(path: str) -> dict[str, Any]:
        if path == "a.zarr":
            raise AssertionError("of another library\nin two lines")
        return {}

    asked = argparse.Namespace(slides=["a.zarr", "b.zarr", "c.zarr"], json=True)
    assert _slides.for_each(asked, work) == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["failed", "done", "done"]
    assert err == "pixnet-sd: error: a.zarr: AssertionError: of another library in two lines\n"
