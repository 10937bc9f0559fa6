"""A report is one small file that holds what an object has, and says what it lacks."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from spatialdata import SpatialData

import pixnet_sd as ps
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import build
from pixnet_sd.pl._draw import page

OPEN_ONLY = {"meta", "img"}


@pytest.fixture(scope="module")
def slide() -> SpatialData:
    """With a map, tables of the same bins, and clusters."""
    toy = ps.datasets.toy(size_px=256)
    kept = {name: toy[name] for name in ("he", "bins_8um", "bins_8um_counts")}
    sdata = SpatialData.init_from_elements(kept, attrs={"pixnet_sd": {"mpp": {"he": 0.5}}})
    genes = list(map(str, sdata["bins_8um_counts"].var_names[:3]))
    ps.pp.tissue(sdata)
    ps.tl.predict(sdata, model=tiny.model(genes, scores=dict(zip(genes, (0.2, 0.7, 0.4), strict=True))), progress=False)
    ps.tl.aggregate(sdata, "bins_8um", progress=False)
    groups = pd.Categorical(np.where(np.arange(sdata["bins_8um_expression"].n_obs) % 2, "odd", "even"))
    sdata["bins_8um_expression"].obs["leiden"] = groups
    return sdata


class Tags(HTMLParser):
    """The tags of a page; each that is opened must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open += [tag] if tag not in OPEN_ONLY else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def sections(text: str) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", text)


def test_a_report_holds_all_that_there_is_and_loads_nothing(slide: SpatialData, tmp_path: Path) -> None:
    ps.pp.quality(slide, progress=False)
    ps.pl.report(slide, tmp_path / "a.html", name="slide <1> & more")
    text = (tmp_path / "a.html").read_text()
    assert sections(text) == [
        *("Slide", "Tissue", "Map", "Genes", "Tables", "Clusters", "Scores against counts", "Provenance")
    ]
    tags = Tags(text).found
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] or "" for _, attributes in tags if "src" in attributes]
    assert len(sources) == 5
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "://" not in text
    assert len(text) < 5_000_000
    assert "Not shown" not in text
    genes = slide["bins_8um_counts"].var_names
    assert f'alt="Maps of {genes[1]}, {genes[2]}, {genes[0]}"' in text, "reliable genes come first"
    scores = ps.tl.evaluate(slide, "bins_8um_expression", "bins_8um_counts", genes=list(genes[:3]))
    assert (page.read_facts(text) or {})["pearson"] == pytest.approx(scores.attrs["PCC@M"])


@pytest.fixture(scope="module")
def bare() -> SpatialData:
    """An image of unknown scale alone."""
    pixels = np.full((3, 64, 96), 200, np.uint8)
    systems = build.make_transformations({"global": np.eye(3)})
    return SpatialData.init_from_elements({"he": build.make_image(pixels, "rgb", systems)})


def test_an_object_with_an_image_alone_has_a_report(bare: SpatialData, tmp_path: Path) -> None:
    ps.pl.report(bare, tmp_path / "bare.html")
    text = (tmp_path / "bare.html").read_text()
    assert sections(text) == ["Slide", "Tissue", "Map", "Provenance"]
    assert "unknown: run pp.mpp" in text
    assert "tl.predict makes one" in text


def test_names_are_text_and_never_markup(bare: SpatialData, tmp_path: Path) -> None:
    name = '"><script>alert(1)</script>$name'
    ps.pl.report(bare, tmp_path / "a.html", name=name)
    text = (tmp_path / "a.html").read_text()
    assert "script" not in {tag for tag, _ in Tags(text).found}
    assert (page.read_facts(text) or {})["name"] == name


def test_a_section_that_cannot_be_drawn_says_why(slide: SpatialData, tmp_path: Path) -> None:
    parts = {name: slide[name] for name in ("he", "bins_8um", "bins_8um_counts")}
    changed = SpatialData.init_from_elements({**parts, "bins_8um_expression": slide["bins_8um_expression"].copy()})
    changed["bins_8um_expression"].uns["log1p"] = {}
    del changed["bins_8um_expression"].obs["leiden"]
    ps.pl.report(changed, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "Not shown: The prediction &#x27;bins_8um_expression&#x27; states" in text
    assert sections(text)[-1] == "Provenance"


def test_an_index_lists_reports_with_their_numbers_and_places(bare: SpatialData, tmp_path: Path) -> None:
    (tmp_path / "slides of today").mkdir()
    for name in ("a", "b"):
        ps.pl.report(bare, tmp_path / "slides of today" / f"{name}.html", name=name)
    files = [tmp_path / "slides of today" / f"{name}.html" for name in ("a", "b")]
    ps.pl.report_index(files, tmp_path / "index.html")
    tags = Tags((tmp_path / "index.html").read_text()).found
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links == ["slides%20of%20today/a.html", "slides%20of%20today/b.html"]


def test_errors_come_before_the_work(slide: SpatialData, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(PixnetValueError, match="exists already"):
        ps.pl.report(slide, tmp_path / "there.html")
    with pytest.raises(PixnetValueError, match="does not end in .html"):
        ps.pl.report(slide, tmp_path / "report.pdf")
    with pytest.raises(PixnetValueError, match="no folder"):
        ps.pl.report(slide, tmp_path / "nowhere" / "report.html")
    with pytest.raises(PixnetValueError, match="is no report"):
        ps.pl.report_index([tmp_path / "there.html"], tmp_path / "index.html")
    with pytest.raises(PixnetValueError, match="list of at least one"):
        ps.pl.report_index([], tmp_path / "index.html")
    assert (tmp_path / "there.html").read_text() == "mine"
