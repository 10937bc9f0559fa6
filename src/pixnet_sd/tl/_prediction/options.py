"""Options of a prediction, and their JSON beside the model, from which another process takes part in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._sdata.masks import AUTO, Tissue, load_tissue
from pixnet_sd._sdata.storage.growing import make_once
from pixnet_sd.nn.model.model import Model

FOLDER, DESCRIPTION, MODEL, TISSUE = "request", "request.json", "model", "tissue.npz"


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of a prediction that shape its result."""

    image_key: str | None = None
    """H&E image; optional if the object has exactly one."""
    image_key_added: str | None = None
    """Name of the image of genes; programs and loadings are named after it."""
    genes: list[str] | None = None
    """Genes to write as plain pixels; None for all of them, lazily."""
    mpp: float | None = None
    """µm per pixel of the image; takes precedence over what the object says."""
    tissue_key: str | None = AUTO
    """Labels of the tissue; "auto" for `"{image}_tissue"`, or what is found where there are none; None for all."""
    value_range: tuple[float, float] | None = None
    """Intensity range (black, white) of an image that is not uint8."""
    allow_upsample: bool = False
    """Interpolate an image that is coarser than the model's resolution."""
    overwrite: bool = False
    """Replace existing results of the same names."""
    device: str | None = None
    """Torch device; None for the fastest available."""
    batch_size: int | None = None
    """Number of tiles per batch; None for what suits the device."""
    tile_size: int | None = None
    """Side of a tile's core in pixels; None for what suits the device."""
    augment: bool = False
    """Average over the eight rotations and reflections of each tile."""
    compile: bool = False
    """Compile the network with torch first."""
    backend: str | None = None
    """"auto", "torch" or "openvino"; None for `ps.settings.backend`."""
    shards: int | None = None
    """Number of shards the prediction is split into; None for one process."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> PredictOptions:
        """Pick the options from the arguments of a call."""
        given = {field.name: arguments[field.name] for field in fields(cls) if field.name in arguments}
        return cls(**{**given, "genes": asked_genes(arguments.get("genes"))})


def write_options(folder: Path, options: PredictOptions, model: Model, tissue: Tissue | None) -> None:
    """Write options, model and tissue that was found for other processes; if several write, the first one's stay."""

    def write(target: Path) -> None:
        model.save(target / MODEL)
        if tissue is not None and tissue.key is None:
            tissue.save(target / TISSUE)
        (target / DESCRIPTION).write_text(json.dumps(asdict(options)))

    make_once(folder / FOLDER, write)


def has_options(folder: Path) -> bool:
    return (folder / FOLDER).exists()


def read_options(folder: Path) -> tuple[PredictOptions, Model, Tissue | None]:
    found = json.loads((folder / FOLDER / DESCRIPTION).read_text())
    return PredictOptions(**found), Model.load(folder / FOLDER / MODEL), read_found_tissue(folder)


def read_found_tissue(folder: Path) -> Tissue | None:
    """Read the tissue that the first process found; None if it found none, or tissue was marked."""
    path = folder / FOLDER / TISSUE
    return load_tissue(path) if path.exists() else None
