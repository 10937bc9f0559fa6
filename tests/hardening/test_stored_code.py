"""A store from a stranger is data, whatever codec it names."""

import json
import pickle
from pathlib import Path

import pytest
from hardening.slides import aggregate, section, squares
from spatialdata._io.format import SpatialDataContainerFormatV01

from pixnet_sd.cli import main


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def plant(store: Path, mark: Path) -> None:
    """Put a pickle in place of the strings of a table's index, wherever this release of anndata writes them."""
    arrays = (store / "tables" / "t" / "obs" / "_index").rglob(".zarray")
    index = next(path.parent for path in arrays if "vlen-utf8" in path.read_text())
    described = json.loads((index / ".zarray").read_text())
    described.update(filters=[{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}], compressor=None)
    (index / ".zarray").write_text(json.dumps(described))
    chunk = next(path for path in index.iterdir() if not path.name.startswith("."))
    chunk.write_bytes(pickle.dumps([Payload(mark), "b", "|O", (2,)]))
    if (consolidated := store / ".zmetadata").exists():
        every = json.loads(consolidated.read_text())
        every["metadata"][f"{index.relative_to(store)}/.zarray"] = described
        consolidated.write_text(json.dumps(every))


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_names_pickle_as_its_codec_runs_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sdata, store, mark = section(cells=squares()), tmp_path / "old.zarr", tmp_path / "code_was_run"
    sdata["t"] = aggregate(sdata, "cells", raster_key="he")
    sdata.write(store, sdata_formats=SpatialDataContainerFormatV01())
    plant(store, mark)
    assert main(["info", str(store)]) == 2
    assert "pickle" in capsys.readouterr().err
    assert not mark.exists()
