"""Consolidated metadata are those that zarr itself would write, of all but what they did not name before."""

import json
from pathlib import Path

import numpy as np
import spatialdata as sd
import zarr
from hardening.slides import picture, section, squares

from pixnet_sd._sdata import build
from pixnet_sd._sdata.affine import get_transformations
from pixnet_sd._sdata.storage import attach, consolidated

ROOT = "zarr.json"


def test_without_strays_they_are_those_of_zarr(tmp_path: Path) -> None:
    section(cells=squares()).write(tmp_path / "s.zarr")
    sdata = sd.read_zarr(tmp_path / "s.zarr")
    mask = build.make_labels(np.ones((4, 4), np.uint8), get_transformations(sdata["he"]))
    attach.attach(sdata, {"mask": mask}, {"mask": {}}, overwrite=False)
    ours = json.loads((tmp_path / "s.zarr" / ROOT).read_text())
    zarr.consolidate_metadata(tmp_path / "s.zarr")
    assert ours == json.loads((tmp_path / "s.zarr" / ROOT).read_text())
    assert "labels/mask" in ours["consolidated_metadata"]["metadata"]


def test_what_they_did_not_name_stays_out_of_them(tmp_path: Path) -> None:
    section(half=picture(), other=squares()).write(tmp_path / "s.zarr")
    root = tmp_path / "s.zarr" / ROOT
    before = json.loads(root.read_text())
    named = before["consolidated_metadata"]["metadata"]
    for path in [path for path in named if path.startswith(("images/half", "shapes"))]:
        del named[path]
    root.write_text(json.dumps(before))
    consolidated.renew_metadata(tmp_path / "s.zarr", [])
    assert json.loads(root.read_text()) == before
    consolidated.renew_metadata(tmp_path / "s.zarr", ["shapes/other"])
    assert {name for _, name, _ in sd.read_zarr(tmp_path / "s.zarr").gen_elements()} == {"he", "other"}


def test_a_store_without_them_gets_none(tmp_path: Path) -> None:
    section().write(tmp_path / "s.zarr", consolidate_metadata=False)
    before = (tmp_path / "s.zarr" / ROOT).read_bytes()
    consolidated.renew_metadata(tmp_path / "s.zarr", ["images/he"])
    assert (tmp_path / "s.zarr" / ROOT).read_bytes() == before
