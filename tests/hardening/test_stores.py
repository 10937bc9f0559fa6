"""Stores that can only be read: on a read-only file system, and on another machine."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import spatialdata as sd
import zarr
from hardening.read_only import read_only
from hardening.slides import aggregate, picture, pixels, predict, section, squares, tiny_model
from spatialdata import SpatialData
from zarr.storage import FsspecStore

import pixnet_sd as ps
from pixnet_sd._errors import PixnetRuntimeError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one store, which has a map."""
    folder = tmp_path_factory.mktemp("slides")
    section(cells=squares()).write(folder / "s.zarr")
    predict(sd.read_zarr(folder / "s.zarr"))
    return folder


@pytest.fixture(scope="module")
def expected(written: Path) -> np.ndarray:
    values: np.ndarray = aggregate(sd.read_zarr(written / "s.zarr")).X
    return values


@pytest.fixture
def locked(written: Path) -> Iterator[Path]:
    """The store where nobody can write."""
    with read_only(written):
        yield written / "s.zarr"


def test_a_read_only_store_is_read(locked: Path, expected: np.ndarray) -> None:
    sdata = sd.read_zarr(locked)
    np.testing.assert_array_equal(aggregate(sdata).X, expected)
    assert predict(sdata, "he", inplace=False).shape == (3, 12, 16)
    assert ps.tl.coverage(sdata, "cells", "he").shape == (2, 48 * 64)


def test_what_is_found_about_a_read_only_store_is_kept_in_the_object(locked: Path) -> None:
    sdata = sd.read_zarr(locked)
    assert ps.pp.mpp(sdata, "he", mpp=0.51) == 0.51
    assert ps.pp.mpp(sdata, "he") == 0.51


@pytest.mark.parametrize("call", ["predict", "aggregate", "predict_shapes", "tissue"])
def test_a_read_only_store_is_refused_before_the_work(locked: Path, call: str) -> None:
    sdata = sd.read_zarr(locked)
    before = {name: id(element) for _, name, element in sdata.gen_elements()}
    calls = {
        "predict": lambda: predict(sdata, "he", overwrite=True),
        "aggregate": lambda: aggregate(sdata, inplace=True),
        "predict_shapes": lambda: ps.tl.predict_shapes(sdata, "cells", image_key="he", model=tiny_model()),
        "tissue": lambda: ps.pp.tissue(sdata, "he"),
    }
    with pytest.raises(PixnetRuntimeError, match=r"cannot be written.*inplace=False"):
        calls[call]()
    assert {name: id(element) for _, name, element in sdata.gen_elements()} == before


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request is no news."""


@pytest.fixture(scope="module")
def address(written: Path) -> Iterator[str]:
    """Where a server of this machine, for this machine only, gives the store out."""
    handler = functools.partial(Silent, directory=str(written))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/s.zarr"
        server.shutdown()


def opened(address: str) -> SpatialData:
    try:
        return sd.read_zarr(address)
    except TypeError as error:
        pytest.skip(f"this release of spatialdata opens no remote store: {error}")


def test_a_store_on_a_server_is_read(address: str, expected: np.ndarray) -> None:
    sdata = opened(address)
    np.testing.assert_array_equal(aggregate(sdata).X, expected)
    assert predict(sdata, "he", inplace=False).shape == (3, 12, 16)


def test_pixels_on_a_server_are_read_as_if_they_were_here(address: str, written: Path) -> None:
    """Also where spatialdata opens no remote store: an image may be lazy over pixels that lie anywhere."""
    pytest.importorskip("aiohttp")
    store = FsspecStore.from_url(f"{address}/images/he_programs", read_only=True)
    group = zarr.open_group(store, mode="r")
    remote = da.from_zarr(group[sorted(group.array_keys())[0]])
    here = sd.read_zarr(written / "s.zarr")["he_programs"]
    sdata = section(he=None, far=picture(remote, "ab"), near=picture(here.values, "ab"), a=squares())
    far, near = (aggregate(sdata, "a", raster_key=key).X for key in ("far", "near"))
    np.testing.assert_array_equal(far, near)


def test_pixels_in_any_store_of_fsspec_are_predicted() -> None:
    store = FsspecStore.from_url("memory://hardening.zarr")
    data = pixels()
    zarr.create_array(store, name="he", data=data, chunks=(3, 16, 16))
    lazy = da.from_zarr(zarr.open_group(store, mode="r")["he"])
    found = predict(section(he=picture(lazy)), inplace=False)
    np.testing.assert_array_equal(found.values, predict(section(he=picture(data)), inplace=False).values)
