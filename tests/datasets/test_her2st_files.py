import functools
import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixnet_sd._errors import PixnetKeyError, PixnetRuntimeError
from pixnet_sd.datasets._fetch import RemoteFile, data_dir, fetch_file
from pixnet_sd.datasets._her2st_files import FILES, read_section

SPOTS = {"C2": 187, "C3": 180, "C4": 184, "C5": 181}
WITHOUT_COUNTS = {"C2": 0, "C3": 2, "C4": 3, "C5": 2}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("PIXNET_SD_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def filled(folder: Path, real_data: Path) -> Path:
    """A data folder with the real sections."""
    folder.mkdir()
    (folder / "her2st").symlink_to(real_data / "her2st", target_is_directory=True)
    return folder


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address, on this machine, of a folder that holds one file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "hello.txt").write_bytes(b"hello")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def hello(address: str, name: str = "hello.txt", content: bytes = b"hello") -> RemoteFile:
    return RemoteFile("greetings/hello.txt", f"{address}/{name}", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("name", list(FILES))
def test_a_section_is_read_whole(filled: Path, name: str) -> None:
    section = read_section(name)
    assert len(section.spot_ids) == len(set(section.spot_ids)) == SPOTS[name]
    assert section.counts.shape == (SPOTS[name], len(section.genes))
    assert section.centers_xy_px.shape == (SPOTS[name], 2)
    assert section.spots_without_counts == WITHOUT_COUNTS[name]
    assert len(set(section.genes)) == len(section.genes)
    assert section.mpp == pytest.approx(0.690, rel=0.01)


@pytest.mark.parametrize("name", list(FILES))
def test_counts_are_those_of_the_file(filled: Path, name: str) -> None:
    section = read_section(name)
    with gzip.open(filled / FILES[name].counts.path, "rt") as file:
        genes = next(file).rstrip("\n").split("\t")[1:]
        rows = {line.split("\t", 1)[0]: np.fromstring(line.split("\t", 1)[1], sep="\t", dtype=int) for line in file}
    assert section.genes.tolist() == genes
    assert section.counts.sum() == sum(row.sum() for row in rows.values())
    assert (section.counts[3].toarray().ravel() == rows[section.spot_ids[3]]).all()


def test_spots_keep_their_places(filled: Path) -> None:
    section = read_section("C2")
    assert section.spot_ids[:2].tolist() == ["25x13", "24x13"]
    assert section.centers_xy_px[:2].tolist() == [[6930.58, 3510.24], [6674.96, 3517.82]]


@pytest.mark.filterwarnings("ignore:Image size")
def test_the_image_holds_all_spots(filled: Path) -> None:
    section = read_section("C5")
    image = section.image()
    with Image.open(section.image_path) as file:
        assert image.shape == (3, file.height, file.width)
    assert image.dtype == np.uint8
    assert (section.centers_xy_px < image.shape[:0:-1]).all()
    columns, rows = section.centers_xy_px.astype(int).T
    assert image[1, rows, columns].mean() < image[1].mean() - 50  # tissue is darker than glass


def test_an_unknown_section_names_those_there_are() -> None:
    with pytest.raises(PixnetKeyError, match="'C6'.*C2, C3, C4, C5"):
        read_section("C6")


def test_a_file_with_other_bytes_is_refused_and_left_alone(folder: Path) -> None:
    path = folder / FILES["C2"].spots.path
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(PixnetRuntimeError, match=hashlib.sha256(b"mine").hexdigest()):
        fetch_file(FILES["C2"].spots)
    assert path.read_text() == "mine"


def test_every_file_has_one_place_one_address_and_one_sum() -> None:
    files = [file for section in FILES.values() for file in (section.image, section.spots, section.counts)]
    for attribute in ("path", "url", "sha256"):
        assert len({getattr(file, attribute) for file in files}) == 12
    assert FILES["C3"].image.url.endswith("/data/ST-imgs/C/C3/5714_HE_BT_D1.jpg")


def test_a_file_is_downloaded_once(folder: Path, served: str, tmp_path: Path) -> None:
    path = fetch_file(hello(served))
    assert path == folder / "greetings" / "hello.txt"
    assert path.read_bytes() == b"hello"
    (tmp_path / "served" / "hello.txt").unlink()
    assert fetch_file(hello(served)) == path


def test_a_failed_download_says_how_to_do_it_by_hand(folder: Path, served: str) -> None:
    file = hello(served, "goodbye.txt")
    with pytest.raises(PixnetRuntimeError, match="404") as caught:
        fetch_file(file)
    for detail in (file.url, file.sha256, str(folder / file.path), "PIXNET_SD_DATA_DIR"):
        assert detail in str(caught.value)


def test_a_download_with_other_bytes_leaves_nothing_behind(folder: Path, served: str) -> None:
    with pytest.raises(PixnetRuntimeError, match="SHA256"):
        fetch_file(hello(served, content=b"good day"))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_without_the_variable_the_cache_folder_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIXNET_SD_DATA_DIR", raising=False)
    assert data_dir().name == "pixnet_sd"
    monkeypatch.setenv("PIXNET_SD_DATA_DIR", "~/sections")
    assert data_dir() == Path.home() / "sections"
