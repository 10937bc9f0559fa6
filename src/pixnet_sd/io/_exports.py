"""What all exports share: a target that appears whole, and rows of a table with their shapes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetKeyError, PixnetValueError
from pixnet_sd._files import explain_full_disk
from pixnet_sd._sdata import counts


@contextmanager
def whole_target(path: str | Path, endings: tuple[str, ...], *, overwrite: bool) -> Iterator[Path]:
    """Yield a path to write to, which becomes the target at the end; after an error nothing is left."""
    target = Path(path).absolute()
    if endings and not target.name.endswith(endings):
        raise PixnetValueError(f"{target.name!r} must end in {' or '.join(endings)}.")
    if not target.parent.is_dir():
        raise PixnetValueError(f"There is no folder {target.parent}. Make it first.")
    if target.exists() and not overwrite:
        raise PixnetKeyError(f"{target} exists. Pass overwrite=True to replace it, or another path.")
    partial = target.with_name(f".partial-{target.name}")
    remove_path(partial)
    try:
        with explain_full_disk(target.parent, after="Nothing was written."):
            yield partial
        remove_path(target)
        partial.rename(target)
    finally:
        remove_path(partial)


def remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def rows_of_shapes(sdata: SpatialData, table_key: str, shapes_key: str) -> tuple[AnnData, np.ndarray]:
    """Return the rows of a table that annotate a shapes element, and for each the position of its shape."""
    table = sdata.tables[table_key]
    selected, instances = counts.annotating_rows(table, table_key, shapes_key)
    return table[selected], counts.find_positions(sdata.shapes[shapes_key], shapes_key, instances, table_key)


def dense_rows(matrix: object) -> np.ndarray:
    """Return rows of X as a dense array."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)
