"""What is known of a map belongs to its pixels: after any ordinary move, sums are right or refused.

Wherever a move leaves the pixels as they are, sums are those of the map before it, to the rounding of floats. A move
that makes other pixels, or loses what was known of them, ends in an error that says what to do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spatialdata as sd
from hardening.slides import GENES, aggregate, picture, predict, section, squares
from precision import assert_close
from spatialdata import SpatialData
from spatialdata.models import Image2DModel
from spatialdata.transformations import Identity, Scale

import pixnet_sd as ps
from pixnet_sd._errors import PixnetError

SYSTEMS = {"global": Identity(), "micrometers": Scale([0.5, 0.5], ("x", "y"))}
"""The first release's sections and most readers have both."""
CELLS = squares(systems=SYSTEMS)
Move = Callable[[SpatialData], tuple[SpatialData, str]]
"""Makes an object from another, and says which of its images to sum."""


def mapped(key: str | None = None, **options: Any) -> SpatialData:
    made = section(he=picture(systems=SYSTEMS), cells=squares(systems=SYSTEMS))
    predict(made, "he", **options)
    return made


RIGHT = aggregate(mapped(), "cells", raster_key="he_programs").X


def put_back(s: SpatialData) -> tuple[SpatialData, str]:
    s["mine"] = predict(s, "he", inplace=False)
    return s, "mine"


def rename_genes(s: SpatialData) -> tuple[SpatialData, str]:
    s["renamed"] = s["he_expression"]
    del s["he_expression"]
    return s, "renamed"


def rename_programs(s: SpatialData) -> tuple[SpatialData, str]:
    s["renamed"] = s["he_programs"]
    return s, "renamed"


def copy_genes(s: SpatialData) -> tuple[SpatialData, str]:
    s["copied"] = Image2DModel.parse(s["he_expression"].compute(), c_coords=GENES)
    return s, "copied"


def bring_programs(s: SpatialData) -> tuple[SpatialData, str]:
    tables = {"he_programs_loadings": s["he_programs_loadings"]}
    return SpatialData(images={"he_programs": s["he_programs"]}, shapes={"cells": s["cells"]}, tables=tables), (
        "he_programs"
    )


def bring_genes(s: SpatialData) -> tuple[SpatialData, str]:
    return SpatialData(images={"genes": s["he_expression"]}, shapes={"cells": s["cells"]}), "genes"


def from_elements(s: SpatialData) -> tuple[SpatialData, str]:
    names = ("he_programs", "he_programs_loadings", "cells")
    return SpatialData.init_from_elements({name: s[name] for name in names}), "he_programs"


def two_slides(s: SpatialData) -> SpatialData:
    return sd.concatenate({"a": s, "b": section(he=picture(systems=SYSTEMS), cells=squares(systems=SYSTEMS))})


def concatenate_genes(s: SpatialData) -> tuple[SpatialData, str]:
    return two_slides(s), "he_expression-a"


def concatenate_programs(s: SpatialData) -> tuple[SpatialData, str]:
    return two_slides(s), "he_programs-a"


def to_micrometres(s: SpatialData) -> tuple[SpatialData, str]:
    return s.transform_to_coordinate_system("micrometers"), "he_programs"


def genes_to_micrometres(s: SpatialData) -> tuple[SpatialData, str]:
    return s.transform_to_coordinate_system("micrometers"), "he_expression"


def rasterize(s: SpatialData) -> tuple[SpatialData, str]:
    s["raster"] = sd.rasterize(s["he_expression"], ["x", "y"], [0, 0], [64, 48], "global", target_width=32)
    return s, "raster"


def lose_the_records(s: SpatialData) -> tuple[SpatialData, str]:
    s.attrs = {}
    return s, "he_programs"


def whole_part(s: SpatialData) -> tuple[SpatialData, str]:
    box = {"axes": ("x", "y"), "min_coordinate": [0, 0], "max_coordinate": [32, 28]}
    part = sd.bounding_box_query(s, **box, target_coordinate_system="global")
    part["he_programs_loadings"] = s["he_programs_loadings"]
    return part, "he_programs"


MOVES = [
    put_back,
    rename_genes,
    rename_programs,
    copy_genes,
    bring_programs,
    bring_genes,
    from_elements,
    concatenate_genes,
    concatenate_programs,
    to_micrometres,
    genes_to_micrometres,
    rasterize,
    lose_the_records,
    whole_part,
]
REFUSED = {"rasterize", "to_micrometres", "genes_to_micrometres"}
"""SpatialData makes other pixels there, and drops what was known of them."""


def in_memory(path: Path) -> SpatialData:
    return mapped()


def in_its_store(path: Path) -> SpatialData:
    made = section(he=picture(systems=SYSTEMS), cells=squares(systems=SYSTEMS))
    made.write(path)
    predict(sd.read_zarr(path), "he")
    stored = sd.read_zarr(path)
    ps.tl.expand(stored, raster_key="he_programs")
    return stored


def written_by_the_user(path: Path) -> SpatialData:
    mapped().write(path)
    return sd.read_zarr(path)


SOURCES = [in_memory, in_its_store, written_by_the_user]


def cells_of(sdata: SpatialData) -> str:
    return next(name for name in sdata.shapes if name in ("cells", "cells-a"))


def summed(sdata: SpatialData, key: str, **options: Any) -> Any:
    return aggregate(sdata, cells_of(sdata), raster_key=key, **options)


def close(found: Any, expected: np.ndarray) -> None:
    assert_close(found, expected)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("move", MOVES)
def test_sums_are_right_or_refused(move: Move, source: Callable[[Path], SpatialData], tmp_path: Path) -> None:
    moved, key = move(source(tmp_path / "s.zarr"))
    if move.__name__ in REFUSED:
        with pytest.raises(PixnetError, match="nothing says in which unit its pixels are"):
            summed(moved, key)
        return
    found = summed(moved, key)
    assert found.var_names.tolist() == GENES
    close(found.X, RIGHT)
