"""What was asked of a prediction, as JSON beside the model: enough for another process to take part in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spatialdata import SpatialData

from pixnet_sd._sdata.storage.growing import make_once
from pixnet_sd.nn.model.model import Model
from pixnet_sd.tl._prediction.plan import PredictionPlan, make_plan

FOLDER, DESCRIPTION, MODEL = "request", "request.json", "model"


@dataclass(frozen=True)
class PredictOptions:
    """The arguments of `predict` that shape its result; they mean what they mean there."""

    image_key: str | None = None
    image_key_added: str | None = None
    genes: list[str] | None = None
    mpp: float | None = None
    tissue_key: str | None = None
    value_range: tuple[float, float] | None = None
    allow_upsample: bool = False
    overwrite: bool = False
    device: str | None = None
    batch_size: int | None = None
    tile_size: int | None = None
    augment: bool = False
    compile: bool = False
    shards: int | None = None
    """Into how many parts the map is cut that are computed apart, by hand."""

    def job(self, sdata: SpatialData, model: Any) -> PredictionPlan:
        return make_plan(
            sdata,
            self.image_key,
            model,
            mpp=self.mpp,
            tissue_key=self.tissue_key,
            value_range=self.value_range,
            allow_upsample=self.allow_upsample,
            device=self.device,
            tile_size=self.tile_size,
            batch_size=self.batch_size,
            augment=self.augment,
            compile=self.compile,
        )

    def settled(self, job: PredictionPlan) -> PredictOptions:
        """Nothing is left for another machine to choose."""
        how = job.how
        return replace(
            self, image_key=job.image_key, device=how.device, tile_size=how.tile_px, batch_size=how.batch_size
        )


def write_options(folder: Path, request: PredictOptions, model: Model) -> None:
    """Put request and model where other processes find them; of several that do, the first one's stay."""

    def write(target: Path) -> None:
        model.save(target / MODEL)
        (target / DESCRIPTION).write_text(json.dumps(asdict(request)))

    make_once(folder / FOLDER, write)


def has_options(folder: Path) -> bool:
    return (folder / FOLDER).exists()


def read_options(folder: Path) -> tuple[PredictOptions, Model]:
    asked = json.loads((folder / FOLDER / DESCRIPTION).read_text())
    return PredictOptions(**asked), Model.load(folder / FOLDER / MODEL)
