"""From a measured slide to a model, a table and its scores, and what a slide says of itself."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import spatialdata as sd

from pixnet_sd.cli import main
from pixnet_sd.nn.model.model import Model


def test_train_predict_aggregate_evaluate_info(slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, model = str(slide), str(tmp_path / "trained")
    train = ["train", path, "--table", "bins_8um_counts", "--method", "ridge", "--name", "mine", "--out", model]
    assert main(train) == 0
    assert Model.load(model).card.name == "mine"
    assert main(train) == 2
    assert "exists already. Give another folder, or --overwrite." in capsys.readouterr().err
    assert main(["predict", path, "--model", model, "--device", "cpu"]) == 0
    assert main(["aggregate", path, "--shapes", "bins_8um"]) == 0
    assert main(["aggregate", path, "--shapes", "bins_8um"]) == 2
    capsys.readouterr()
    tables = ["--predicted", "bins_8um_expression", "--measured", "bins_8um_counts"]
    assert main(["evaluate", path, *tables, "--csv", str(tmp_path / "scores"), "--json"]) == 0
    scores = pd.read_csv(tmp_path / "scores" / "a.csv", index_col=0)
    assert json.loads(capsys.readouterr().out)["PCC@M"] == pytest.approx(scores["pearson"].mean())


def test_info_says_what_is_there_and_where_it_comes_from(
    slide: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(slide), "--model", model, "--device", "cpu"]) == 0
    (slide.parent / f".{slide.name}+other_programs.partial").mkdir()
    capsys.readouterr()
    assert main(["info", str(slide), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    elements = {one["name"]: one for one in found["elements"]}
    assert set(elements) == {name for _, name, _ in sd.read_zarr(slide).gen_elements()}
    assert (elements["he"]["size"], elements["he"]["mpp"], elements["he"]["made"]) == ([3, 256, 256], 0.5, None)
    assert (elements["he_programs"]["size"], elements["he_programs"]["mpp"]) == ([3, 64, 64], 2.0)
    assert elements["he_programs"]["made"]["sha256"] == Model.load(model).sha256
    assert found["unfinished"] == ["other_programs"]
    assert main(["info", str(slide)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  images  he                           3 x 256 x 256, 0.5 um/px" in lines
    assert any("2 um/px, programs by 'tiny' (" in line for line in lines)
    assert "  unfinished: other_programs" in lines


def test_scores_of_slides_with_one_name_are_kept_apart(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sdata = sd.read_zarr(slide)
    sdata["predicted"] = sdata["bins_8um_counts"].copy()
    sdata["predicted"].uns["pixnet_sd"] = {"unit": "counts"}
    sdata.write_element("predicted")
    twin = shutil.copytree(slide, tmp_path / "twin" / slide.name)
    folder = tmp_path / "scores"
    command = ["evaluate", str(slide), str(twin), "--predicted", "predicted", "--measured", "bins_8um_counts"]
    assert main([*command, "--csv", str(folder)]) == 0
    assert len(list(folder.iterdir())) == 2
    assert (folder / "twin_a.csv").exists()
    assert main([*command, "--csv", str(folder)]) == 2
    assert "exists already. Give another folder, or --overwrite." in capsys.readouterr().err
    assert main([*command, "--csv", str(folder), "--overwrite"]) == 0
    twice = ["evaluate", str(slide), *command[1:], "--csv", str(folder), "--overwrite"]
    assert main(twice) == 2
