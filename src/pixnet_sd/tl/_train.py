"""Train a model on measured sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._sdata import elements
from pixnet_sd._settings import settings
from pixnet_sd.nn.model import Card, Model
from pixnet_sd.nn.network import NetworkConfig
from pixnet_sd.nn.ridge import train_ridge
from pixnet_sd.nn.slides import Slide
from pixnet_sd.tl._slides import Reading, read_slide

if TYPE_CHECKING:
    import pandas as pd

SELECTED = "selected"


def train(
    sdata: SpatialData | Sequence[SpatialData],
    *,
    image_key: str | None = None,
    table_key: str | Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    layer: str | None = None,
    network: NetworkConfig | None = None,
    encoder_weights: str | Path | None = "pretrained",
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    name: str = "my model",
    tissue: str = "unknown",
    species: str = "unknown",
    device: str = "cpu",
    progress: bool | None = None,
) -> Model:
    """Train a model that predicts expression from H&E, on one or several measured sections.

    Features of a frozen encoder, colour, and what surrounds each pixel are pooled exactly over the measured shapes,
    and a ridge regression predicts ln(1 + counts per 10,000) from them. Pooling and regression are linear, so the same
    numbers are a dense map: ``tl.predict`` evaluates it at every pixel. The fit is in closed form: the same data give
    the same model. The penalty, and the scores that the model carries, come from leaving out one section in turn, or a
    quarter of the only one.

    Parameters
    ----------
    sdata
        One or several sections.
    image_key
        The H&E image; may be left out when there is one.
    table_key
        The table with raw counts, or several, e.g. of bins of 8 and 16 µm; may be left out when there is one.
    genes
        Genes to model. By default those that ``pp.select_genes`` marked in the first section's table, or all of it.
    layer
        The layer with raw counts; by default X.
    network
        Its encoder, µm per pixel, number of programmes and context; see `NetworkConfig`. By default colour and texture
        at 0.5 µm per pixel, which needs no download.
    encoder_weights
        ``"pretrained"`` fetches published weights where the encoder has any; a safetensors file works offline.
    value_range
        Black and white of images that are not uint8.
    allow_upsample
        Interpolate images that are coarser than the model reads.
    name, tissue, species
        For the model's card.
    device
        Where it runs.
    progress
        Show progress bars; by default ``ps.settings.progress``.

    Returns
    -------
    The model. ``model.save(folder)`` keeps it.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> model = ps.tl.train(sdata, table_key="bins_8um_counts", progress=False)
    >>> model.unit
    'log1p'
    """
    config = network or NetworkConfig(encoder="stain", levels=None, programmes=32)
    sections = [sdata] if isinstance(sdata, SpatialData) else list(sdata)
    if not sections:
        raise PixnetValueError("There is nothing to train on: the list of sections is empty.")
    tables = [table_key] if isinstance(table_key, str) else table_key
    chosen = list(genes) if genes is not None else marked_genes(sections[0], tables)
    reading = Reading(image_key, tables, layer, chosen, config.mpp, value_range, allow_upsample)
    slides = [read_slide(section, f"section {n}", reading) for n, section in enumerate(sections, 1)]
    card = Card(name, tissue=tissue, species=species, data=summary(slides))
    bar = progress_bars(settings.progress if progress is None else progress)
    return train_ridge(slides, chosen, config, card, encoder_weights=encoder_weights, device=device, bar=bar)


def summary(slides: Sequence[Slide]) -> str:
    shapes = sum(len(measured.shapes) for slide in slides for measured in slide.measured)
    return f"{len(slides)} section(s), {shapes} shapes"


def marked_genes(sdata: SpatialData, tables: Sequence[str] | None) -> list[str]:
    """Genes that were selected in the first table, or all of its genes."""
    var: pd.DataFrame = sdata.tables[elements.table_key(sdata, tables[0] if tables else None)].var
    return list(map(str, var.index[var[SELECTED]] if SELECTED in var else var.index))


def progress_bars(shown: bool) -> Callable[[int, str], Callable[[int], object]]:
    """What starts a bar; a bar ends when it is full."""

    def start(total: int, text: str) -> Callable[[int], object]:
        bar = tqdm(total=total, desc=text, unit="step", disable=not shown)
        return partial(advance, bar)

    return start


def advance(bar: tqdm, steps: int) -> None:
    bar.update(steps)
    if bar.n >= bar.total:
        bar.close()
