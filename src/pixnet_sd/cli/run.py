"""Take slides from files to maps, tables and reports, each in a store of its own.

Slides are SVS, TIFF, OME-TIFF, PNG and JPEG files, folders of Visium, SpatialData stores, folders of these, globs, or a
CSV file with the columns path, mpp, image (of Visium) and shapes (outlines in pixels). For each of them: tissue,
artifacts, map, nuclei or bins if asked, a table for all shapes, and a report; reports are listed in index.html. What is
done is kept: the same command resumes after a stop, and does nothing when all is done. Sources are never changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.cli import _slides
from pixnet_sd.cli._sources import Source, find_sources
from pixnet_sd.cli._tables import find_maps, write_tables
from pixnet_sd.cli.evaluate import names_apart

if TYPE_CHECKING:
    from spatialdata import SpatialData

    from pixnet_sd import Model

FOCUS_MPP = 1.0
"""Coarser images are not looked at for artifacts, which pp.quality refuses."""
OPTIONS = ("model", "mpp", "nuclei", "expand_um", "bins", "allow_upsample", "augment", "quality")
"""Options that change results; those that only change the speed may differ in a later call."""
PREDICT = ("allow_upsample", "augment", "device", "tile_size", "batch_size")
"""Options that are called here as in `tl.predict`."""
HELP = "slides to maps, tables and reports, resumable"
EXAMPLES = """\
examples:
  pixnet-sd run slides/*.svs --model default --out results --nuclei --expand-um 5
  pixnet-sd run slides.csv --model my_model --out results --bins 16 --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", nargs="+", metavar="SLIDE", help="files, folders, stores, globs, CSV files")
    parser.add_argument("--model", required=True, help='a folder, "default", or "hf-hub:org/name@revision"')
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where stores and reports go")
    parser.add_argument("--mpp", type=float, help="um per pixel, where neither the file nor the CSV says it")
    parser.add_argument("--nuclei", action="store_true", help="find nuclei; images up to 1 um per pixel")
    parser.add_argument("--expand-um", type=float, default=0.0, metavar="UM", help="grow nuclei to cells")
    parser.add_argument("--bins", type=float, action="append", default=[], metavar="UM", help="square bins; repeatable")
    parser.add_argument("--no-quality", dest="quality", action="store_false", help="do not look for artifacts")
    parser.add_argument("--allow-upsample", action="store_true", help="interpolate an image coarser than the model's")
    parser.add_argument("--augment", action="store_true", help="average eight views of each tile; 8 x the time")
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the fastest there is')
    parser.add_argument("--tile-size", type=int, metavar="PX", help="side of what a tile keeps")
    parser.add_argument("--batch-size", type=int, metavar="N", help="tiles at once")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


def run(asked: argparse.Namespace) -> int:
    sources = {one.path: one for one in find_sources(asked.slides, asked.mpp)}
    names = names_apart(list(sources))
    asked.slides = list(sources)
    if asked.dry_run:
        return _slides.for_each(asked, lambda path: plan_slide(sources[path], names[path], asked))
    import pixnet_sd as ps

    model = ps.Model.load(asked.model)
    asked.out.mkdir(parents=True, exist_ok=True)
    before = count_reports(asked.out)
    code = _slides.for_each(asked, lambda path: run_slide(sources[path], names[path], asked, model))
    list_reports(asked.out, [f"{name}.html" for name in names.values()], before)
    return code


def plan_slide(source: Source, name: str, asked: argparse.Namespace) -> _slides.Facts:
    """Read what there is and say what would be done."""
    import pixnet_sd as ps

    if is_done(source, name, asked):
        return {"status": "already done", "store": str(asked.out / f"{name}.zarr")}
    sdata = source.read()
    mpp = source.mpp or ps.pp.mpp(sdata)
    _, height, width = ps.tl.info(sdata).loc[find_image(sdata), "size"]
    steps = ["tissue", *(["quality"] if looks_for_artifacts(mpp, asked) else []), "map"]
    steps += ["nuclei"] * asked.nuclei + [f"bins_{size:g}um" for size in asked.bins] + ["tables", "report"]
    size = {"pixels": f"{width} x {height}", "mpp": mpp, "megabytes": round(3 * 4 / 3 * height * width / 1e6)}
    return {"status": "planned", "kind": source.kind, **size, "steps": steps}


def run_slide(source: Source, name: str, asked: argparse.Namespace, model: Model) -> _slides.Facts:
    import pixnet_sd as ps

    store, report = asked.out / f"{name}.zarr", asked.out / f"{name}.html"
    if is_done(source, name, asked):
        return {"status": "already done", "store": str(store), "report": str(report)}
    sdata = open_copy(source, store)
    image = find_image(sdata)
    add_shapes(sdata, source, image, asked)
    how = {
        option: getattr(asked, option) for option in ("allow_upsample", "augment", "device", "tile_size", "batch_size")
    }
    bars = _slides.shows_bars()
    ps.tl.predict(sdata, image, model=model, exist_ok=True, progress=bars, **how)
    (key,) = find_maps(ps.tl.info(sdata))
    write_tables(sdata, list(sdata.shapes), key, overwrite=False)
    ps.pl.report(sdata, report, image_key=image, name=name, overwrite=True)
    note_done(source, name, asked)
    return {"store": str(store), "report": str(report), "tables": [f"{shapes}_expression" for shapes in sdata.shapes]}


def open_copy(source: Source, store: Path) -> SpatialData:
    """Open the store of a slide, which is written first, whole, from its source."""
    if not store.exists():
        partial_store = store.with_name(f".{store.name}.partial")
        shutil.rmtree(partial_store, ignore_errors=True)
        source.read().write(partial_store)
        os.rename(partial_store, store)
    return _slides.open_slide(str(store))


def find_image(sdata: SpatialData) -> str:
    """Find the H&E image: the only one that is no result."""
    import pixnet_sd as ps

    info = ps.tl.info(sdata)
    images = list(info.index[(info["kind"] == "images") & info["made"].isna()])
    if len(images) != 1:
        raise PixnetValueError(f"One image is needed, and there are {len(images)}: {', '.join(images) or 'none'}.")
    return str(images[0])


def add_shapes(sdata: SpatialData, source: Source, image: str, asked: argparse.Namespace) -> None:
    """Add tissue, artifacts and shapes that are not there yet."""
    import pixnet_sd as ps

    bars, mpp = _slides.shows_bars(), ps.pp.mpp(sdata, image)
    cells = "cells" if asked.expand_um else "nuclei"
    steps: dict[str, Callable[[], object]] = {f"{image}_tissue": partial(ps.pp.tissue, sdata, image)}
    if looks_for_artifacts(mpp, asked):
        steps[f"{image}_quality_tiles"] = partial(ps.pp.quality, sdata, image, progress=bars)
    if asked.nuclei:
        steps[cells] = partial(ps.pp.nuclei, sdata, image, expand_um=asked.expand_um, progress=bars)
    for size in asked.bins:
        steps[f"bins_{size:g}um"] = partial(ps.pp.bins, sdata, size, image_key=image)
    if source.shapes is not None:
        steps["outlines"] = partial(add_outlines, sdata, source.shapes, mpp)
    for name, step in steps.items():
        if name not in sdata:
            step()


def add_outlines(sdata: SpatialData, file: str, mpp: float) -> None:
    import pixnet_sd as ps

    sdata["outlines"] = ps.io.outlines(file, unit="px", mpp=mpp)
    sdata.write_element("outlines")


def looks_for_artifacts(mpp: float, asked: argparse.Namespace) -> bool:
    return bool(asked.quality) and mpp <= FOCUS_MPP


def describe_work(source: Source, asked: argparse.Namespace) -> dict[str, Any]:
    """Describe what a result depends on, to be compared with that of a later call."""
    options = {option: getattr(asked, option) for option in OPTIONS}
    return {**options, "mpp": source.mpp, "source": os.path.abspath(source.path), "shapes": source.shapes}


def is_done(source: Source, name: str, asked: argparse.Namespace) -> bool:
    """Check whether a slide is done, and was done with the options of this call."""
    note = asked.out / f"{name}.json"
    if not note.exists():
        return False
    before, now = json.loads(note.read_text()), describe_work(source, asked)
    changed = [f"{key} was {before.get(key)!r}, now {now[key]!r}" for key in now if before.get(key) != now[key]]
    if changed:
        raise PixnetValueError(
            f"{note.with_suffix('.zarr')} was made otherwise: {'; '.join(changed)}. Choose another --out, or remove "
            f"{note.with_suffix('.*').name} there."
        )
    return True


def note_done(source: Source, name: str, asked: argparse.Namespace) -> None:
    note = asked.out / f"{name}.json"
    written = note.with_name(f".{note.name}.partial")
    written.write_text(json.dumps(describe_work(source, asked), indent=1))
    os.replace(written, note)


def count_reports(folder: Path) -> dict[str, int]:
    """Note the times of the reports that are there."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.html")}


def list_reports(folder: Path, names: list[str], before: dict[str, int]) -> None:
    """List the reports in an index, if there are new ones or a call was stopped before it."""
    import pixnet_sd as ps

    now = count_reports(folder)
    there = [name for name in names if name in now]
    new = any(now[name] != before.get(name) for name in there)
    if there and (new or "index.html" not in now):
        ps.pl.report_index([folder / name for name in there], folder / "index.html", overwrite=True)
