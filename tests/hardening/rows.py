"""The inputs that break tools like this one, and what happens to each: a refusal, or a test that holds it.

`docs/_scripts/bad_inputs.py` makes a page of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import scipy.sparse as sp
import shapely
from hardening.slides import (
    COUNTS,
    GENES,
    GLOBAL,
    aggregate,
    discs,
    measured,
    picture,
    pixels,
    predict,
    section,
    squares,
    tiny_model,
    train,
)
from spatialdata.models import TableModel
from spatialdata.transformations import Identity, Scale

import pixnet_sd as ps
from pixnet_sd._sdata import build


@dataclass(frozen=True)
class Refusal:
    """A call of a public function that must end in an error which says enough."""

    what: str
    """The input in a few words; also the name of its test."""
    call: Callable[[], Any]
    error: type[Exception]
    """The builtin that a caller would catch; it is always a `PixnetError` as well."""
    says: tuple[str, ...]
    """Expressions that the message must hold: what was asked, what was found, what to do."""


@dataclass(frozen=True)
class Row:
    """One kind of input."""

    given: str
    outcome: str
    refused: tuple[Refusal, ...] = ()
    held_by: tuple[str, ...] = ()
    """Other tests, as `path::name` below tests/."""


def nan_picture() -> Any:
    data = pixels(dtype=np.float32) / 255
    data[1, 5, 7] = np.nan
    return picture(data)


def without_ids() -> Any:
    sdata = measured()
    sdata["counts"] = TableModel.parse(ad.AnnData(COUNTS))
    return sdata


def expressed(genes: Sequence[str], values: Any = COUNTS) -> Any:
    """Predicted and measured counts of the same squares, whose genes may be named otherwise."""
    sdata = measured(values)
    table = sdata["counts"].copy()
    table.var_names = list(genes)
    table.uns["pixnet_sd"] = {"unit": "counts"}
    sdata["predicted"] = table
    return sdata


def with_result() -> Any:
    sdata = section(a=squares())
    aggregate(sdata, inplace=True)
    return sdata


def far_slide() -> Any:
    """A slide of half a metre, of which nothing is ever computed."""
    data = da.zeros((3, 10**6, 10**6), chunks=(3, 10**5, 10**5), dtype=np.uint8)
    return section(he=picture(data, chunks=(3, 10**5, 10**5)))


def empty_labels() -> Any:
    return build.make_labels(np.zeros((48, 64), np.uint8), GLOBAL)


def zero_radius() -> Any:
    sdata = section(a=discs([3, 3]))
    sdata["a"]["radius"] = [3.0, 0.0]  # later, since SpatialData refuses to take it up
    return sdata


def repeated_genes() -> Any:
    sdata = measured()
    sdata["counts"].var_names = ["EPCAM", "EPCAM", "VIM"]
    return sdata


TO_INFINITY = shapely.Polygon([(0, 0), (4, np.inf), (4, 0)])


ROWS = (
    Row(
        "µm per pixel unknown, or impossible",
        "An error that names three ways to state it. It is never guessed. Sources more than 5 % apart give a warning.",
        (
            Refusal(
                "unknown",
                lambda: predict(section(mpp=None)),
                ValueError,
                ("image 'he'", r"pp\.mpp\(sdata, 'he', mpp=", "coordinate system", "pitch_um"),
            ),
            Refusal(
                "unknown for tissue", lambda: ps.pp.tissue(section(mpp=None)), ValueError, ("'he' is unknown", "mpp=")
            ),
            Refusal(
                "30 µm", lambda: ps.pp.mpp(section(), mpp=30), ValueError, ("would be 30", r"0\.05 to 20", "Check")
            ),
            Refusal("NaN", lambda: predict(section(), mpp=float("nan")), ValueError, ("would be nan", "outside")),
            Refusal(
                "spots in one place",
                lambda: ps.pp.mpp(
                    section(spots=discs([1, 1], ((3.0, 3.0), (3.0, 3.0)))), spots_key="spots", pitch_um=100
                ),
                ValueError,
                ("2 spots of 'spots' have no pitch", "0 px", "different places"),
            ),
        ),
        (
            "_sdata/test_units.py::test_what_was_recorded_counts_first_and_a_difference_warns",
            "tl/test_predict.py::test_um_per_pixel_that_differ_from_what_the_object_says_warn",
        ),
    ),
    Row(
        "image coarser than the model",
        "An error, unless `allow_upsample=True`. Training makes the model as coarse, which the log says. Finer ones "
        "are resampled while they are read.",
        (
            Refusal(
                "2 µm for a model of 0.5",
                lambda: predict(section(mpp=2.0)),
                ValueError,
                ("'he' has 2 µm per pixel, the model reads 0.5", "allow_upsample=True"),
            ),
        ),
        (
            "tl/test_predict.py::test_an_image_too_coarse_for_the_model_is_refused",
            "tl/test_predict.py::test_an_image_of_another_resolution_is_resampled",
            "tl/test_train.py::test_the_model_reads_what_the_coarsest_image_has_or_what_it_is_told",
        ),
    ),
    Row(
        "several images, shapes or tables, and none named; names that are not there",
        "An error that lists those there are.",
        (
            Refusal(
                "two images",
                lambda: predict(section(other=picture())),
                KeyError,
                ("No image_key was given", "there are 2: 'he', 'other'", "Pass image_key="),
            ),
            Refusal(
                "two shapes",
                lambda: aggregate(section(a=squares(), b=squares())),
                KeyError,
                ("No shapes_key was given", "'a', 'b'", "Pass shapes_key="),
            ),
            Refusal(
                "no table",
                lambda: ps.pp.select_genes(section()),
                KeyError,
                ("No table_key was given", "there are none"),
            ),
            Refusal(
                "unknown image",
                lambda: predict(section(), "slide"),
                KeyError,
                ("image_key='slide' is not among the images: 'he'",),
            ),
            Refusal("no SpatialData", lambda: aggregate("slide.zarr"), TypeError, ("got str", "read_zarr")),
            Refusal(
                "one string for a list of genes",
                lambda: aggregate(section(a=squares()), genes="r"),
                TypeError,
                ("genes='r' is one string", r"genes=\['r'\]"),
            ),
            Refusal(
                "no gene at all",
                lambda: aggregate(section(a=squares()), genes=[]),
                ValueError,
                (r"genes=\[\] names no gene", "leave it out"),
            ),
            Refusal(
                "a gene twice",
                lambda: aggregate(section(a=squares()), genes=["r", "r"]),
                ValueError,
                (r"more than once: \['r'\]",),
            ),
        ),
    ),
    Row(
        "a result whose name is taken, or cannot be a name",
        "An error before the work. `overwrite=True` replaces results of this package, and nothing else.",
        (
            Refusal(
                "taken",
                lambda: aggregate(with_result(), inplace=True),
                KeyError,
                ("would replace 'a_expression'", "overwrite=True", "another name"),
            ),
            Refusal(
                "taken by what others made",
                lambda: ps.pp.bins(section(a=squares()), 4, key_added="a", overwrite=True),
                KeyError,
                ("replace 'a', which is not recorded as a result", "another name", r"del sdata\['a'\]"),
            ),
            Refusal(
                "taken by another kind",
                lambda: aggregate(section(a=squares()), key_added="he", inplace=True, overwrite=True),
                KeyError,
                ("'he' would be among the tables", "there among the images", "another name"),
            ),
            Refusal(
                "a path",
                lambda: aggregate(section(a=squares()), key_added="../a", inplace=True),
                ValueError,
                ("cannot be called '../a'", "letters", "another name"),
            ),
            Refusal(
                "too long",
                lambda: aggregate(section(a=squares()), key_added="x" * 300, inplace=True),
                ValueError,
                (r"\(300 characters\)", "at most 255 bytes", "another name"),
            ),
            Refusal(
                "a file of every store",
                lambda: aggregate(section(a=squares()), key_added="zarr.json", inplace=True),
                ValueError,
                ("cannot be called 'zarr.json'", "another name"),
            ),
        ),
    ),
    Row(
        "shapes and raster that do not lie over each other",
        "An error where they share no coordinate system or nothing overlaps; under half, a warning with the share.",
        (
            Refusal(
                "no common system",
                lambda: aggregate(section(a=squares(systems={"other": Identity()}))),
                ValueError,
                ("share no coordinate system", r"\['other'\] against \['global'\]", "set_transformation"),
            ),
            Refusal(
                "no overlap",
                lambda: aggregate(section(a=squares([shapely.box(100, 100, 101, 101)]))),
                ValueError,
                ("0% of the shapes 'a'", r"\[100.0, 100.0\] to \[101.0, 101.0\]", "48|64", "coordinate_system="),
            ),
            Refusal(
                "no overlap, for coverage",
                lambda: ps.tl.coverage(section(a=squares([shapely.box(100, 100, 101, 101)])), raster_key="he"),
                ValueError,
                ("0% of the shapes 'a'", "Check the transformations"),
            ),
        ),
        ("tl/test_aggregate.py::test_all_shapes_outside_is_an_error_and_most_is_a_warning",),
    ),
    Row(
        "rotated, sheared, flipped, anisotropic or singular transformations",
        "Shapes go into pixel space exactly, and circles become ellipses. A singular matrix is an error.",
        (
            Refusal(
                "singular for the image",
                lambda: aggregate(section(he=picture(systems={"global": Scale([0.0, 1.0], ("x", "y"))}), a=squares())),
                ValueError,
                ("'he' to 'global' cannot be inverted", r"\[\[0.0", "Set a regular one"),
            ),
            Refusal(
                "singular for the shapes",
                lambda: aggregate(section(a=squares(systems={"global": Scale([0.0, 1.0], ("x", "y"))}))),
                ValueError,
                ("singular", "would lose its area"),
            ),
        ),
        ("hardening/test_properties.py::test_area_is_kept_through_any_chain_of_affines",),
    ),
    Row(
        "RGBA, grayscale, uint16, float, wrong axes or channels in another order",
        "Alpha is laid on white. Others are an error: neither order nor range is inferred from the data.",
        (
            Refusal(
                "grayscale",
                lambda: predict(section(he=picture(pixels(channels=1), "0"))),
                ValueError,
                ("1 channels", "r, g, b"),
            ),
            Refusal(
                "uint16",
                lambda: predict(section(he=picture(pixels(dtype=np.uint16)))),
                ValueError,
                ("is uint16", r"\(0, 65535\)"),
            ),
            Refusal(
                "float",
                lambda: predict(section(he=picture(pixels(dtype=np.float32)))),
                ValueError,
                ("is float32", "value_range="),
            ),
            Refusal(
                "(y, x, c) as (c, y, x)",
                lambda: predict(section(he=picture(pixels().transpose(1, 2, 0), [str(n) for n in range(48)]))),
                ValueError,
                ("48 channels", r"axes must be \(c, y, x\)"),
            ),
            Refusal(
                "b, g, r",
                lambda: predict(section(he=picture(names="bgr"))),
                ValueError,
                (r"\('b', 'g', 'r'\)", "order r, g, b"),
            ),
            Refusal(
                "blue, green, red by their full names",
                lambda: predict(section(he=picture(names=["Blue", "Green", "Red"]))),
                ValueError,
                (r"\('blue', 'green', 'red'\)", "order r, g, b"),
            ),
            Refusal(
                "three stains of a fluorescence image",
                lambda: predict(section(he=picture(names=["DAPI", "CD3", "CK"]))),
                ValueError,
                ("'dapi', 'cd3', 'ck'", "set_channel_names"),
            ),
            Refusal(
                "four stains, of which the last is no alpha",
                lambda: predict(section(he=picture(pixels(channels=4), ["DAPI", "CD3", "CD8", "CK"]))),
                ValueError,
                ("which do not say that they are red", "set_channel_names"),
            ),
            Refusal(
                "a range that falls",
                lambda: predict(section(), value_range=(255, 0)),
                ValueError,
                ("two finite numbers that rise", r"got \(255, 0\)"),
            ),
        ),
        (
            "_sdata/test_images.py::test_opaque_alpha_is_dropped_and_clear_glass_is_white",
            "_sdata/test_images.py::test_a_stated_range_is_used",
        ),
    ),
    Row(
        "NaN in the image",
        "An error with the count and the first place. In a raster that is aggregated, NaN means not covered.",
        (
            Refusal(
                "for a map",
                lambda: predict(section(he=nan_picture()), value_range=(0, 1)),
                ValueError,
                ("holds 1 NaN", "channel 1, row 5, column 7", "Fill them"),
            ),
            Refusal(
                "for tissue",
                lambda: ps.pp.tissue(section(he=nan_picture()), value_range=(0, 1)),
                ValueError,
                ("holds 1 NaN", "channel 1, row 5, column 7"),
            ),
        ),
        ("tl/test_aggregate.py::test_nan_pixels_are_left_out_of_values_and_coverage",),
    ),
    Row(
        "pyramids, irregular chunks, odd sizes, images smaller than a tile, 1 x 1",
        "Work, and give what the plain image gives. A map is made from a coarser level only where its size divides "
        "that of the finest.",
        (),
        (
            "hardening/test_bad_inputs.py::test_any_size_and_storage_of_an_image_gives_the_same",
            "tl/test_aggregate.py::test_a_pyramid_of_odd_size_is_read_at_its_finest_level",
            "tl/test_predict.py::test_a_pyramid_of_odd_size_changes_nothing_of_a_map",
        ),
    ),
    Row(
        "white slide, no tissue",
        "A valid result: NaN outside the tissue, and one warning from each step. No bin at all is an error.",
        (
            Refusal(
                "bins without tissue",
                lambda: ps.pp.bins(section(tissue=empty_labels()), 8, tissue_key="tissue"),
                ValueError,
                ("None of the 12 bins of 8 µm has 0.5", "'tissue'", "min_tissue"),
            ),
        ),
        (
            "hardening/test_bad_inputs.py::test_a_white_slide_goes_all_the_way",
            "tl/test_predict.py::test_a_slide_without_tissue_gives_nan_and_one_warning",
        ),
    ),
    Row(
        "shapes partly outside, empty, self-intersecting, multi-part, holed, nested, overlapping, tiny",
        "Exact coverage of what lies on the raster. Invalid ones are repaired, with their count; empty ones are NaN.",
        (),
        (
            "hardening/test_bad_inputs.py::test_odd_shapes_have_the_coverage_that_shapely_gives",
            "tl/test_aggregate.py::test_invalid_shapes_are_repaired_with_a_warning_and_empty_ones_are_nan",
        ),
    ),
    Row(
        "circles with a radius that is NaN, infinite, zero; coordinates that are not finite; points",
        "An error with the rows.",
        (
            Refusal(
                "NaN radius",
                lambda: aggregate(section(a=discs([3, np.nan]))),
                ValueError,
                ("positive, finite radius", "1 of 2", "row 1: nan"),
            ),
            Refusal(
                "infinite radius",
                lambda: aggregate(section(a=discs([np.inf, 3]))),
                ValueError,
                ("1 of 2", "row 0: inf", "Repair or drop"),
            ),
            Refusal(
                "zero radius", lambda: aggregate(zero_radius()), ValueError, ("positive, finite radius", "row 1: 0")
            ),
            Refusal(
                "NaN center",
                lambda: aggregate(section(a=discs([3, 3], ((np.nan, 5.0), (20.0, 20.0))))),
                ValueError,
                ("finite centers", "row 0"),
            ),
            Refusal(
                "infinite vertex",
                lambda: aggregate(section(a=squares([shapely.box(0, 0, 4, 4), TO_INFINITY]))),
                ValueError,
                ("finite coordinates", r"rows 1\b"),
            ),
        ),
        ("_zonal/test_shapes.py::test_points_and_lines_are_refused_by_type",),
    ),
    Row(
        "index of shapes repeated or missing; ids that do not match, or strings against numbers",
        "An error before any work, with examples of both.",
        (
            Refusal(
                "repeated",
                lambda: aggregate(section(a=squares(ids=[1, 1]))),
                ValueError,
                ("repeats 1 values", r"\[1\]", "reset_index"),
            ),
            Refusal(
                "missing",
                lambda: aggregate(section(a=squares(ids=[1, np.nan]))),
                ValueError,
                ("whole numbers or strings", "nan", "reset_index"),
            ),
            Refusal(
                "numbers and strings",
                lambda: aggregate(section(a=squares(ids=[1, "a"]))),
                ValueError,
                ("whole numbers or strings, not both", r"\[1, 'a'\]", "reset_index"),
            ),
            Refusal(
                "strings against numbers",
                lambda: train(measured(ids=["0", "1"])),
                ValueError,
                ("2 of 2 rows", r"\['0', '1'\]", r"\[0, 1\]", "int64", "types the same"),
            ),
            Refusal("unknown", lambda: train(measured(ids=[0, 9])), ValueError, ("1 of 2 rows", r"\[9\]", "'cells'")),
            Refusal("no ids at all", lambda: train(without_ids()), KeyError, ("annotates", "there are none")),
        ),
    ),
    Row(
        "a table that annotates several regions",
        "Filtered by region and instance; where several lie on one image, `shapes_key` says which.",
        (),
        (
            "_sdata/test_counts.py::test_only_the_rows_of_the_region",
            "_sdata/test_elements.py::test_a_table_of_two_regions_is_told_which",
        ),
    ),
    Row(
        "genes missing, repeated, in another case, by another kind of name; in an Index, in no list",
        "Matched by name, exactly. An error under half of the smaller table; what is left out is counted. Any "
        "sequence of names will do, but no single string; errors come before the work.",
        (
            Refusal(
                "one string to predict",
                lambda: predict(section(), genes="VIM", model="no such model"),
                TypeError,
                ("genes='VIM' is one string", r"genes=\['VIM'\]"),
            ),
            Refusal(
                "one string to train on",
                lambda: train(measured(), genes="VIM"),
                TypeError,
                ("genes='VIM' is one string", r"genes=\['VIM'\]"),
            ),
            Refusal(
                "one string to evaluate",
                lambda: ps.tl.evaluate(expressed(GENES), "predicted", "counts", genes="VIM"),
                TypeError,
                ("genes='VIM' is one string", r"genes=\['VIM'\]"),
            ),
            Refusal(
                "none to predict",
                lambda: predict(section(), genes=[], model="no such model"),
                ValueError,
                (r"genes=\[\] names no gene", "leave it out"),
            ),
            Refusal(
                "none to predict for shapes",
                lambda: ps.tl.predict_shapes(section(a=squares()), "a", model="no such model", genes=[]),
                ValueError,
                (r"genes=\[\] names no gene", "leave it out"),
            ),
            Refusal(
                "none to evaluate",
                lambda: ps.tl.evaluate(expressed(GENES), "predicted", "counts", genes=[]),
                ValueError,
                (r"genes=\[\] names no gene", "leave it out"),
            ),
            Refusal(
                "twice to predict",
                lambda: predict(section(), genes=["VIM", "VIM"], model="no such model"),
                ValueError,
                (r"more than once: \['VIM'\]",),
            ),
            Refusal(
                "missing",
                lambda: train(measured(), genes=["MYC"]),
                KeyError,
                ("1 of 1 genes", r"\['MYC'\]", "look like"),
            ),
            Refusal("another case", lambda: train(measured(), genes=["vim"]), KeyError, (r"\['vim'\]", "'EPCAM'")),
            Refusal(
                "repeated",
                lambda: train(repeated_genes()),
                ValueError,
                (r"repeats gene names, e.g. \['EPCAM'\]", "var_names_make_unique"),
            ),
            Refusal(
                "Ensembl against symbols",
                lambda: ps.tl.evaluate(expressed(("ENSG1.2", "ENSG2.1", "ENSG3.4")), "predicted", "counts"),
                ValueError,
                ("Only 0 genes are in both", "'ENSG1.2'", "'EPCAM'", "50%", "without version"),
            ),
        ),
        (
            "tl/test_evaluate.py::test_what_is_left_out_is_counted",
            "tl/test_evaluate.py::test_genes_may_be_an_index",
            "tl/test_predict.py::test_genes_may_be_an_index_in_a_store",
            "tl/test_train.py::test_genes_may_be_an_index_and_a_ridge_refuses_what_only_epochs_can_use",
        ),
    ),
    Row(
        "counts as CSR, CSC, dense, dask, backed; integer or float",
        "All work, and give the same.",
        (),
        ("_sdata/test_counts.py::test_every_storage_gives_the_same", "_sdata/test_counts.py::test_backed_file"),
    ),
    Row(
        "log-normalized, negative or missing values where counts are needed",
        "An error that names the layer argument.",
        (
            Refusal(
                "logs",
                lambda: train(measured(np.log1p(COUNTS))),
                ValueError,
                ("Raw counts are needed", r"1\.79", "layer='counts'"),
            ),
            Refusal(
                "negative",
                lambda: ps.pp.select_genes(measured(-COUNTS), n_top_genes=1),
                ValueError,
                ("-5", "layer='counts'"),
            ),
            Refusal(
                "NaN",
                lambda: train(measured(sp.csr_matrix(np.where(COUNTS == 7, np.nan, COUNTS)))),
                ValueError,
                ("1 NaN or infinite", "'counts', X"),
            ),
        ),
    ),
    Row(
        "spots with zero counts",
        "Masked in the loss, left out of scores with their number, kept in the output.",
        (
            Refusal(
                "nothing but zeros",
                lambda: ps.tl.evaluate(expressed(("EPCAM", "VIM", "CD3E"), 0 * COUNTS), "predicted", "counts"),
                ValueError,
                ("0 shapes can be compared, at least 3", "2 of them without counts", "same place"),
            ),
        ),
        ("nn/training/test_loss.py::test_shapes_without_counts_are_masked",),
    ),
    Row(
        "read-only or remote store",
        "Reading works; whether it can be written is checked before the long work.",
        (),
        (
            "_sdata/storage/test_attach.py::test_a_store_that_cannot_be_written_is_refused_before_the_work",
            "hardening/test_stores.py::test_a_read_only_store_is_refused_before_the_work",
            "hardening/test_stores.py::test_pixels_on_a_server_are_read_as_if_they_were_here",
        ),
    ),
    Row(
        "disk too small",
        "Refused before the work, with the bytes needed and free. One that fills up meanwhile: an error that says so, "
        "and the same call goes on.",
        (),
        (
            "tl/test_predict.py::test_a_disk_that_is_too_small_is_refused_with_both_numbers",
            "nn/training/test_fit.py::test_features_that_do_not_fit_on_the_disk_are_refused_with_both_numbers",
            "hardening/test_faults.py::test_nothing_is_lost",
        ),
    ),
    Row(
        "pixels in a file that is damaged or out of reach",
        "An error that says so; nothing is changed, and once the file is there the same call goes on.",
        (),
        ("hardening/test_faults.py::test_nothing_is_lost",),
    ),
    Row(
        "Ctrl-C, or a kill at any moment",
        "The same call resumes and ends with the same bytes; the store opens in between.",
        (),
        (
            "tl/test_predict.py::test_an_interrupted_call_is_resumed_and_tiles_that_are_done_are_not_computed_again",
            "hardening/test_faults.py::test_nothing_is_lost",
        ),
    ),
    Row(
        "a device that does not exist, or not here",
        "An error before the work, which names the fastest one there is.",
        (
            Refusal(
                "banana",
                lambda: predict(section(), device="banana"),
                ValueError,
                ("device='banana' is not the name", '"cuda:1"', "fastest here"),
            ),
            Refusal("a number", lambda: predict(section(), device=2.5), ValueError, ("device=2.5", '"cpu"')),
            Refusal("meta", lambda: predict(section(), device="meta"), ValueError, ("computes nothing", '"cpu"')),
            Refusal(
                "the hundredth GPU",
                lambda: predict(section(), device="cuda:99"),
                RuntimeError,
                ("no device 'cuda:99' here", "fastest here"),
            ),
            Refusal(
                "the hundredth GPU, for shapes",
                lambda: ps.tl.predict_shapes(section(a=squares()), "a", model=tiny_model(), device="cuda:99"),
                RuntimeError,
                ("no device 'cuda:99' here", "fastest here"),
            ),
        ),
        ("hardening/test_bad_inputs.py::test_a_device_that_is_not_here_leaves_nothing_behind",),
    ),
    Row(
        "memory of the device too small",
        "The batch is halved down to 1, said once; the result does not change.",
        (),
        (
            "nn/inference/test_tiling.py::test_out_of_memory_halves_the_batch_for_good_and_says_so_once",
            "nn/inference/test_tiling.py::test_a_tile_that_never_fits_is_an_error_that_says_what_to_do",
        ),
    ),
    Row(
        "two processes on one store",
        "Of one result, the second gets an error. Of different results, both are kept.",
        (),
        (
            "tl/test_predict.py::test_two_processes_on_one_result",
            "_sdata/storage/test_attach.py::test_two_objects_of_one_store_keep_each_others_results",
            "_sdata/storage/test_attach.py::test_a_name_that_was_taken_during_the_work_is_refused",
            "hardening/test_faults.py::test_nothing_is_lost",
        ),
    ),
    Row(
        "model files: truncated, of another version, with unknown keys or other genes; a pickle, a zip",
        "An error that names the file. Nothing in it is ever executed.",
        (
            Refusal(
                "nowhere",
                lambda: predict(section(), model="nowhere"),
                ValueError,
                ("no model at nowhere", "Give a folder"),
            ),
            Refusal("not a model", lambda: predict(section(), model=3), TypeError, ("got int", "Model.load")),
            Refusal(
                "a hub name without revision",
                lambda: predict(section(), model="hf-hub:org/name"),
                ValueError,
                ("org/name@revision",),
            ),
        ),
        (
            "nn/model/test_model.py::test_truncated_weights",
            "nn/model/test_model.py::test_another_format_version",
            "nn/model/test_model.py::test_a_description_that_is_wrong",
            "nn/model/test_model.py::test_a_pickle_or_a_zip_is_never_opened",
            "hardening/test_model_files.py::test_weights_with_changed_bytes_never_become_another_model",
            "hardening/test_model_files.py::test_a_forged_value_is_refused_before_anything_of_its_size_is_made",
            "hardening/test_model_files.py::test_json_nested_beyond_all_measure_is_refused",
        ),
    ),
    Row(
        "image, polygons or bins of absurd size",
        "Refused with numbers before anything is allocated.",
        (
            Refusal(
                "polygon beyond all slides",
                lambda: aggregate(section(a=squares([shapely.box(0, 0, 1e300, 1e300)]))),
                ValueError,
                ("1.1e", "1 of 1", "row 0: 1e"),
            ),
            Refusal(
                "circle beyond all slides",
                lambda: aggregate(section(a=discs([1e200, 3]))),
                ValueError,
                ("1 of 2", "row 0: 1e"),
            ),
            Refusal(
                "bins too many",
                lambda: ps.pp.bins(section(), 1e-300),
                ValueError,
                ("1e-300 µm", "48 x 64 px", "50,000,000"),
            ),
            Refusal("bins too large", lambda: ps.pp.bins(section(), 1e4), ValueError, ("would be 0", "between 1 and")),
            Refusal(
                "slide too large for its tissue",
                lambda: ps.pp.tissue(far_slide()),
                ValueError,
                ("1,000,000 x 1,000,000", "134,217,728"),
            ),
        ),
    ),
    Row(
        "options that cannot be",
        "An error that says which.",
        (
            Refusal(
                "tile of 64.5 px",
                lambda: predict(section(), tile_size=64.5),
                ValueError,
                ("whole numbers", "got 64.5"),
            ),
            Refusal(
                "tile of -64 px",
                lambda: predict(section(), tile_size=-64),
                ValueError,
                ("whole numbers, at least 1", "got -64"),
            ),
            Refusal(
                "tile of two numbers",
                lambda: predict(section(), tile_size=(64, 64)),
                ValueError,
                ("whole numbers", r"\(64, 64\)"),
            ),
            Refusal("batch of 0", lambda: predict(section(), batch_size=0), ValueError, ("at least 1", "got 64 and 0")),
            Refusal(
                "quantile of 1.5",
                lambda: aggregate(section(a=squares()), statistic="quantile", quantile=1.5),
                ValueError,
                ("between 0 and 1", "1.5"),
            ),
            Refusal(
                "unknown statistic",
                lambda: aggregate(section(a=squares()), statistic="mode"),
                ValueError,
                ("'mode'", "sum, mean"),
            ),
            Refusal(
                "tissue that is not there",
                lambda: predict(section(), tissue_key="mask"),
                KeyError,
                ("'mask' is not among the labels",),
            ),
            Refusal(
                "sum of logs",
                lambda: ps.tl.predict_shapes(
                    section(a=squares()), "a", model=tiny_model(head="log"), statistic="sum", device="cpu"
                ),
                ValueError,
                ("logs do not add up", "statistic='mean'"),
            ),
        ),
    ),
)
