"""Write a section and a model as the first release stores them, with what it makes of them.

They were written once, by release 0.1.0, and every later release must open them: do not write them again. A release
that stores something in another way gets a folder of its own beside this one, from
python tests/data/first_release/make.py FOLDER
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import spatialdata as sd
import torch
from safetensors.numpy import save_file
from spatialdata import SpatialData
from spatialdata.transformations import Identity, Scale

import pixnet_sd as ps
from pixnet_sd._sdata import build
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.network import PixNet

GENES = ("EPCAM", "VIM", "CD3E", "KRT8")
PREDICT: dict[str, Any] = {"device": "cpu", "tile_size": 64, "progress": False}
CONFIG = NetworkConfig(
    "tf_efficientnet_lite0",
    levels=(0,),
    mpp=1.0,
    stride=4,
    context_um=(12.0,),
    decoder="pixel",
    widths=(3,),
    programs=3,
    fine=True,
)


def model() -> Model:
    torch.manual_seed(0)
    members = [PixNet(CONFIG, len(GENES), encoder_weights=None) for _ in range(2)]
    card = Card(
        "first", tissue="none", limits="random weights", validation="nothing", scores={"EPCAM": 0.5, "VIM": -0.1}
    )
    ids = [f"ENSG{number:011d}" for number in range(len(GENES))]
    return Model(
        members, GENES, card, ensembl=ids, library_size=1234.5, history={"loss 1": [2.0, 1.5], "loss 2": [1.0]}
    )


def section() -> SpatialData:
    """At 0.5 µm per pixel, in two coordinate systems; shapes with names, overlapping, holed and partly outside."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 96, 128)).astype(np.uint8)
    systems = {"global": Identity(), "um": Scale([0.5, 0.5], ("x", "y"))}
    holed = shapely.box(40, 40, 90, 80) - shapely.box(50, 50, 61.5, 60)
    shapes = np.array([shapely.box(1, 1, 33.3, 29), shapely.box(20, 20, 70, 60), holed, shapely.box(120, 50, 150, 70)])
    ids = pd.Index([f"cell_{number}" for number in range(len(shapes))])
    tissue = np.ones((96, 128), np.uint8)
    tissue[:, :8] = 0
    counts = np.arange(len(shapes) * len(GENES)).reshape(len(shapes), len(GENES))
    elements = {
        "he": build.make_image(pixels, list("rgb"), systems),
        "he_tissue": build.make_labels(tissue, systems),
        "cells": build.make_polygons(shapes, ids, systems),
        "spots": build.make_circles(np.array([(30.0, 30.0), (80.0, 50.0)]), 22.0, pd.RangeIndex(2), systems),
        "counts": build.make_table(counts, pd.DataFrame(index=list(GENES)), "cells", ids),
    }
    return build.make_section(elements, {}, {"he": 0.5})


def make(folder: Path) -> None:
    trained = model()
    trained.save(folder / "model")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "section.zarr"
        section().write(path)
        sdata = sd.read_zarr(path)
        ps.tl.predict(sdata, "he", model=trained, **PREDICT)
        ps.tl.aggregate(sdata, "cells", raster_key="he_programs", progress=False)
        ps.tl.predict_shapes(sdata, "spots", model=trained, image_key="he", **PREDICT)
        save_file(
            {
                "programs": sdata["he_programs"].values,
                "genes": np.ascontiguousarray(sdata["he_expression"].values),
                "cells": np.asarray(sdata["cells_expression"].X),
                "cells_coverage": sdata["cells_expression"].obs["coverage"].to_numpy(),
                "spots": np.asarray(sdata["spots_expression"].X),
            },
            folder / "expected.safetensors",
        )
        shutil.make_archive(str(folder / "section.zarr"), "zip", temporary)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
