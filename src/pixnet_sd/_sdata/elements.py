"""Find elements of a SpatialData object by key, and what was measured on which image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._keys import as_list, loadings_key, resolve_key
from pixnet_sd._sdata import affine
from pixnet_sd._sdata.provenance import SLOT, get_record
from pixnet_sd._sdata.storage.origin import check_reachable

Keys = str | Sequence[str] | None
VISIUM_SIZES = ("full", "hires", "lowres")
VISIUM_IMAGE = re.compile(rf"(.*_)({'|'.join(VISIUM_SIZES)})_image(.*)")
"""Names of `spatialdata_io.visium`, the finest first."""


def find_image_key(sdata: SpatialData, key: str | None = None) -> str:
    """Find the image to read. Without a key, results of this package are no candidates."""
    check_sdata(sdata)
    return resolve_key("images", key, sdata.images if key is not None else candidate_images(sdata), "image_key")


def candidate_images(sdata: SpatialData) -> list[str]:
    """List all images but our results, and but those of Visium of which there is a finer one."""
    names = [name for name in sdata.images if not get_record(sdata, name)]
    return [name for name in names if not names_of_finer(name) & set(names)]


def names_of_finer(name: str) -> set[str]:
    """Name the finer images beside one of `spatialdata_io.visium`, also with the suffix of `concatenate`."""
    found = VISIUM_IMAGE.fullmatch(name)
    if found is None:
        return set()
    before, size, after = found.groups()
    return {f"{before}{finer}_image{after}" for finer in VISIUM_SIZES[: VISIUM_SIZES.index(size)]}


def find_shapes_key(sdata: SpatialData, key: str | None = None) -> str:
    check_sdata(sdata)
    return resolve_key("shapes", key, sdata.shapes, "shapes_key")


def find_regions_key(sdata: SpatialData, key: str | None = None) -> str:
    """Find shapes, or labels, which are taken without a key only where there are no shapes. Tissue is no candidate."""
    check_sdata(sdata)
    if key is None:
        labels = [name for name in sdata.labels if not get_record(sdata, name)]
        return resolve_key("shapes", None, sdata.shapes or labels, "shapes_key")
    return resolve_key("shapes and labels", key, [*sdata.shapes, *sdata.labels], "shapes_key")


def find_table_key(sdata: SpatialData, key: str | None = None) -> str:
    """Find the measured table to read. Without a key, results and loadings are no candidates."""
    check_sdata(sdata)
    return resolve_key("tables", key, sdata.tables if key is not None else measured_tables(sdata), "table_key")


def measured_tables(sdata: SpatialData) -> list[str]:
    """List all tables but our results and loadings, which say so also if the object's records are lost."""
    derived = {loadings_key(name) for name in sdata.images}
    ours = {name for name, table in sdata.tables.items() if get_record(sdata, name) or SLOT in table.uns}
    return [name for name in sdata.tables if name not in derived | ours]


def element_names(sdata: SpatialData) -> set[str]:
    """List every element's name; SpatialData allows a name once over all kinds."""
    return {name for _, name, _ in sdata.gen_elements()}


def check_sdata(sdata: object) -> None:
    if not isinstance(sdata, SpatialData):
        raise PixnetTypeError(
            f"The first argument must be a SpatialData object; got {type(sdata).__name__}. "
            "Read one with spatialdata.read_zarr, make one of AnnData and an image with pixnet_sd.io.anndata, or try "
            "pixnet_sd.datasets.toy()."
        )
    check_reachable(sdata)


def annotating_table(sdata: SpatialData, shapes_key: str) -> str:
    """Find the one measured table that annotates a shapes element, our results aside."""
    resolve_key("shapes", shapes_key, sdata.shapes, "shapes_key")
    fitting = [key for key in measured_tables(sdata) if shapes_key in annotated_regions(sdata[key])]
    return resolve_key(f"tables that annotate shapes {shapes_key!r}", None, fitting, "table_key")


def annotated_regions(table: AnnData) -> list[str]:
    """List the elements that a table annotates."""
    found = table.uns.get("spatialdata_attrs", {}).get("region", [])
    return [found] if isinstance(found, str) else list(found)


@dataclass(frozen=True)
class MeasuredKeys:
    """Shapes, and the table with their counts."""

    shapes: str
    table: str


@dataclass(frozen=True)
class SectionKeys:
    """One section of an object."""

    image: str
    measured: tuple[MeasuredKeys, ...]


def find_sections(
    sdata: SpatialData, image_key: Keys = None, shapes_key: Keys = None, table_key: Keys = None
) -> list[SectionKeys]:
    """Find the sections of an object: the shapes that share a coordinate system with each image, with their tables.

    Without keys, each image has one measured table and one shapes element that it annotates. Images without any are
    left out.
    """
    check_sdata(sdata)
    shapes, tables = list_keys(shapes_key, "shapes_key"), list_keys(table_key, "table_key")
    measured = find_measured(sdata, shapes, tables)
    images = find_images(sdata, list_keys(image_key, "image_key"), measured)
    placed = place_measured(sdata, images, measured)
    check_all_used(sdata, placed, shapes, tables, images if image_key is not None else [])
    found = {image: pairs for image, pairs in placed.items() if pairs}
    for image, pairs in found.items():
        check_choice(image, pairs, shapes, tables)
    return [SectionKeys(image, tuple(pairs)) for image, pairs in found.items()]


def list_keys(keys: Keys, argument: str) -> list[str] | None:
    if keys is None:
        return None
    names = as_list(keys, argument)
    if len(set(names)) < len(names):
        raise PixnetValueError(f"{argument}={names} names an element more than once.")
    return names


def find_measured(sdata: SpatialData, shapes: list[str] | None, tables: list[str] | None) -> list[MeasuredKeys]:
    """Find the pairs of shapes and tables that the given keys allow, in the order of the keys."""
    if tables is None and shapes is not None:
        return [MeasuredKeys(key, annotating_table(sdata, key)) for key in shapes]
    names = measured_tables(sdata) if tables is None else tables
    # Raises if there is no table, or none of a given name.
    names = names or [find_table_key(sdata)]
    regions = {name: regions_of(sdata, find_table_key(sdata, name)) for name in names}
    if shapes is None:
        check_annotating(regions)
        return [MeasuredKeys(region, name) for name in names for region in regions[name]]
    for key in shapes:
        resolve_key("shapes", key, sdata.shapes, "shapes_key")
    pairs = [MeasuredKeys(key, name) for key in shapes for name in names if key in regions[name]]
    check_keys_agree(shapes, regions, pairs)
    return pairs


def regions_of(sdata: SpatialData, table_key: str) -> list[str]:
    return [region for region in annotated_regions(sdata.tables[table_key]) if region in sdata.shapes]


def check_annotating(regions: dict[str, list[str]]) -> None:
    """Check that each table annotates shapes that are in the object."""
    for name, annotated in regions.items():
        if not annotated:
            resolve_key(f"shapes that table {name!r} annotates", None, [], "shapes_key")


def check_keys_agree(shapes: list[str], regions: dict[str, list[str]], pairs: list[MeasuredKeys]) -> None:
    """Check that each of the given shapes is annotated by one of the given tables, and each table annotates one."""
    for key in shapes:
        fitting = [pair.table for pair in pairs if pair.shapes == key]
        if len(fitting) != 1:
            raise PixnetValueError(
                f"{len(fitting)} of the tables {list(regions)} annotate the shapes {key!r}; exactly one must. "
                f"They annotate {regions}. Leave out table_key, or name the table of these shapes."
            )
    idle = sorted(set(regions) - {pair.table for pair in pairs})
    if idle:
        raise PixnetValueError(
            f"Table {idle[0]!r} annotates {regions[idle[0]]}, none of the shapes {shapes}. Name its shapes as well, or "
            "leave out one of shapes_key and table_key."
        )


def find_images(sdata: SpatialData, asked: list[str] | None, measured: Sequence[MeasuredKeys]) -> list[str]:
    """Find the given images, or all that some of the shapes lie on."""
    if asked is not None:
        return [find_image_key(sdata, key) for key in asked]
    candidates = candidate_images(sdata)
    if len(candidates) > 1:
        under = [key for key in candidates if any(affine.is_over(sdata, pair.shapes, key) for pair in measured)]
        return under or candidates
    return [find_image_key(sdata)]


def place_measured(
    sdata: SpatialData, images: Sequence[str], measured: Sequence[MeasuredKeys]
) -> dict[str, list[MeasuredKeys]]:
    """Find the image of each pair, the one that shares a coordinate system with its shapes.

    Where several do, as many images as pairs are taken in their order.
    """
    placed: dict[str, list[MeasuredKeys]] = {image: [] for image in images}
    for number, pair in enumerate(measured):
        under = [image for image in images if affine.is_over(sdata, pair.shapes, image)]
        if len(under) > 1 and len(images) == len(measured) and images[number] in under:
            under = [images[number]]
        if under:
            image = resolve_key(f"images under the shapes {pair.shapes!r}", None, under, "image_key")
            placed[image].append(pair)
    return placed


def check_all_used(
    sdata: SpatialData,
    placed: dict[str, list[MeasuredKeys]],
    shapes: list[str] | None,
    tables: list[str] | None,
    images: list[str],
) -> None:
    """Check that everything that was named is used, and something at all."""
    used = [pair for pairs in placed.values() for pair in pairs]
    idle = [f"shapes {key!r}" for key in shapes or () if key not in {pair.shapes for pair in used}]
    idle += [f"the shapes of table {key!r}" for key in tables or () if key not in {pair.table for pair in used}]
    idle += [f"image {key!r}" for key in images if not placed[key]]
    if used and not idle:
        return
    systems = {name: sorted(affine.get_transformations(sdata[name])) for name in [*placed, *sdata.shapes]}
    raise PixnetValueError(
        f"Images and the shapes measured on them must share a coordinate system, and {idle or 'none'} "
        f"{'do not' if idle else 'of them do'}: {systems}. Add one with spatialdata.transformations.set_transformation."
    )


def check_choice(image: str, pairs: Sequence[MeasuredKeys], shapes: list[str] | None, tables: list[str] | None) -> None:
    """Check that keys that were left out have one choice on each image."""
    if shapes is not None:
        return
    names = list(dict.fromkeys(pair.table for pair in pairs))
    if tables is None:
        resolve_key(f"tables with counts on image {image!r}", None, names, "table_key")
    for name in names:
        annotated = [pair.shapes for pair in pairs if pair.table == name]
        resolve_key(f"shapes on image {image!r} that table {name!r} annotates", None, annotated, "shapes_key")
