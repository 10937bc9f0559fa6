"""Train a model on measured sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spatialdata import SpatialData
from tqdm.auto import tqdm

from pixnet_sd._errors import PixnetTypeError, PixnetValueError, warn
from pixnet_sd._sdata.counts import asked_genes
from pixnet_sd._settings import logger, settings
from pixnet_sd.nn.device import best_device, check_device
from pixnet_sd.nn.encoders.foundation import FOUNDATION, SCALE_TOLERANCE, viewed_mpp
from pixnet_sd.nn.model.model import Card, Model
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.heads import HEADS
from pixnet_sd.nn.slides import Slide, check_no_overlap, hold_out_corner
from pixnet_sd.nn.training.config import TrainConfig
from pixnet_sd.nn.training.fit import train_pixnet
from pixnet_sd.nn.training.ridge import train_ridge
from pixnet_sd.tl._prediction.plan import COARSER
from pixnet_sd.tl._slides import FoundSection, ReadOptions, find_measured_sections, read_slide

if TYPE_CHECKING:
    import pandas as pd

MARKS = ("selected", "highly_variable")
"""Columns of pp.select_genes and of scanpy that mark the genes to model; the first there is counts."""
CORNER = "corner"


def train(
    sdata: SpatialData | Sequence[SpatialData],
    *,
    image_key: str | Sequence[str] | None = None,
    shapes_key: str | Sequence[str] | None = None,
    table_key: str | Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    mpp: float | None = None,
    layer: str | None = None,
    method: Literal["pixnet", "ridge"] = "pixnet",
    config: TrainConfig | None = None,
    validation: SpatialData | Sequence[SpatialData] | Literal["corner"] | None = "corner",
    model: Model | None = None,
    encoder_weights: str | Path | None = "pretrained",
    checkpoint: str | Path | None = None,
    value_range: tuple[float, float] | None = None,
    allow_upsample: bool = False,
    name: str = "my model",
    tissue: str = "unknown",
    species: str = "unknown",
    device: str | None = None,
    progress: bool | None = None,
) -> Model:
    """Train a model that predicts expression from H&E, on one or several measured sections.

    ``method="pixnet"`` fits a map of rates, in counts per µm²: its integral over each measured shape is compared with
    the shape's raw counts by a negative binomial likelihood, and the profiles within each section by their
    correlation. Shapes of different sizes can be combined, and the map may be summed over any others.

    ``method="ridge"`` takes seconds once features are computed: a ridge regression of ln(1 + counts per 10,000) on
    features that are pooled over the shapes, in closed form. Its map can be averaged but not summed. Its penalty, and
    the scores in the model's card, come from leaving out one section in turn, or corners of the only one, at the
    distance where shapes share no pixels. A section that is too small for that is not scored.

    A model of rates is scored by profiles, shares among its genes: with few genes, the card says what the measured
    counts themselves would score. A model of one gene is trained on rates and scored by them, at one depth for each
    section.

    Parameters
    ----------
    sdata
        One or several objects. An object may hold several sections, e.g. after ``spatialdata.concatenate``.
    image_key
        The H&E image, or several. Shapes belong to the image with which they share a coordinate system. Optional if
        each measured shapes element shares one with exactly one image.
    shapes_key
        The shapes that were measured, or several, e.g. bins of 2, 8 and 16 µm. Optional if the table annotates one
        shapes element on each image.
    table_key
        The table with raw counts, or several. Optional if there is one for each image, or one for each of the shapes
        that `shapes_key` names.
    genes
        Genes to model. By default those that ``pp.select_genes`` marked in the first section's table, else those that
        scanpy marked as ``highly_variable``, else all.
    mpp
        µm per pixel at which the model reads its images. By default that of `config`, or of the coarsest image where
        that is coarser, unless `allow_upsample`.
    layer
        The layer with raw counts; by default X.
    method
        ``"pixnet"`` or ``"ridge"``.
    config
        The network and the hyperparameters; see `TrainConfig`. By default a small frozen CNN, whose weights come with
        the package, and stain statistics at 1.4 µm per pixel; each section is learnt from in four orientations. The
        ridge uses only the network's features, µm per pixel and number of programs; by default stain and texture.
    validation
        Validation data for early stopping and for the scores in the model's card: sections that are not in `sdata`, or
        ``"corner"``, a quarter of every section, at a distance from the training shapes. None trains on everything for
        all epochs. The ridge has no epochs and takes no other sections: its scores come from cross-validation.
    model
        Model to fine-tune, with its network and its genes.
    encoder_weights
        ``"pretrained"`` fetches published weights where the encoder has any; a safetensors file works offline.
    checkpoint
        A folder that keeps the state after every epoch. The same call resumes an interrupted training, with the same
        result. Not for the ridge, which has no epochs.
    value_range
        Intensity range ``(black, white)`` of images that are not uint8.
    allow_upsample
        Interpolate images that are coarser than the model's µm per pixel, instead of making the model coarser.
    name, tissue, species
        For the model's card.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; by default the fastest there is, which a log line names.
    progress
        Show progress bars; by default ``ps.settings.progress``.

    Returns
    -------
    The model. ``model.save(folder)`` stores it.

    Raises
    ------
    PixnetValueError
        If the sections have too few shapes or counts, a section is both trained on and scored, or options contradict
        each other.

    See Also
    --------
    pixnet_sd.pp.select_genes : Mark the genes to model.
    pixnet_sd.tl.predict : Predict a map with the model.
    pixnet_sd.pl.training : Plot the training curves.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.toy(size_px=512)
    >>> few = ps.TrainConfig(steps=20)
    >>> model = ps.tl.train(sdata, table_key="bins_8um_counts", config=few, progress=False)
    >>> model.unit
    'counts/um2'
    """
    config = resolve_config(method, config, model)
    if method == "ridge":
        check_no_epochs(validation, checkpoint)
    device = resolve_device(device)
    sections = find_measured_sections(list_sections(sdata), image_key, shapes_key, table_key)
    if not sections:
        raise PixnetValueError("There is nothing to train on: the list of sections is empty.")
    config = resolve_mpp(config, mpp, [section.mpp for section in sections], model, allow_upsample)
    warn_of_scale(config.network)
    chosen = model_genes(asked_genes(genes), model) or marked_genes(sections[0])
    glass = method != "ridge" and HEADS[config.network.head].additive
    reading = ReadOptions(layer, chosen, config.network.mpp, value_range, allow_upsample, glass)
    slides = [read_slide(section, f"section {n}", reading) for n, section in enumerate(sections, 1)]
    if method == "ridge":
        check_no_overlap(slides, slides, "Give each section once.")
    limits = describe_terms(config.network.encoder)
    card = Card(name, tissue=tissue, species=species, data=describe_data(slides), limits=limits)
    bars = progress_bars(settings.progress if progress is None else progress)
    if method == "ridge":
        return train_ridge(
            slides, chosen, config.network, card, encoder_weights=encoder_weights, device=device, progress=bars
        )
    if validation is None or isinstance(validation, str):
        training, held_out, how = split_slides(slides, validation, config)
    else:
        others = find_measured_sections(list_sections(validation), image_key, shapes_key, table_key)
        training, held_out, how = slides, *read_validation(slides, others, reading)
    return train_pixnet(
        training,
        held_out,
        chosen,
        config,
        replace(card, validation=how),
        model=model,
        encoder_weights=encoder_weights,
        folder=None if checkpoint is None else Path(checkpoint),
        device=device,
        progress=bars,
    )


def resolve_device(device: str | None) -> str:
    """Check the device, or choose the fastest."""
    if device is None:
        device = best_device()
        logger.info("training on device %r", device)
    return check_device(device)


def resolve_config(method: str, config: TrainConfig | None, model: Model | None) -> TrainConfig:
    """Check the configuration, or take the default; a model that is fine-tuned keeps its network."""
    if method not in METHODS:
        raise PixnetValueError(f"method must be one of {list(METHODS)}; got {method!r}.")
    if config is not None and not isinstance(config, TrainConfig):
        raise PixnetTypeError(f"config must be a TrainConfig, e.g. TrainConfig(steps=800); got {config!r}.")
    if model is None:
        return config or METHODS[method]()
    if method == "ridge":
        raise PixnetValueError('A ridge cannot be fine-tuned: `model` needs method="pixnet".')
    networks = [member.config for member in model.network.members]
    resolved = config or TrainConfig(network=networks[0], members=len(networks))
    if any(network != resolved.network for network in networks) or resolved.members != len(networks):
        raise PixnetValueError(
            f"The model has {len(networks)} member(s) with another network than `config`. Give "
            "TrainConfig(network=model.network.members[0].config, members=len(model.network.members), ...)."
        )
    return resolved


def check_no_epochs(validation: object, checkpoint: str | Path | None) -> None:
    """Check that a ridge gets no validation data and no checkpoint: it is solved at once."""
    unused = {
        "validation": not (validation is None or isinstance(validation, str) and validation == CORNER),
        "checkpoint": checkpoint is not None,
    }
    if any(unused.values()):
        named = " and ".join(name for name, given in unused.items() if given)
        raise PixnetValueError(
            f'method="ridge" has no epochs, so it cannot use {named}: its scores come from leaving out each section in '
            f'turn, or corners of the only one. Leave out {named}, or pass method="pixnet".'
        )


def ridge_config() -> TrainConfig:
    """Return the ridge's default: stain and texture, closer than the network of rates looks."""
    network = NetworkConfig(encoder="stain", levels=None, mpp=0.5, stride=4, context_um=(150.0,), programs=32)
    return TrainConfig(network=network)


METHODS = {"pixnet": TrainConfig, "ridge": ridge_config}
"""Default configuration by method."""


def model_genes(genes: list[str] | None, model: Model | None) -> list[str] | None:
    """Return the given genes, or those of the model; a model that is fine-tuned keeps its genes."""
    if model is None:
        return genes
    if genes is not None and genes != list(model.genes):
        raise PixnetValueError(f"The model has {len(model.genes)} genes; `genes` must be left out or the same.")
    return list(model.genes)


def list_sections(sdata: SpatialData | Sequence[SpatialData]) -> list[SpatialData]:
    several = [sdata] if isinstance(sdata, SpatialData) else list(sdata if isinstance(sdata, list | tuple) else [sdata])
    wrong = [type(one).__name__ for one in several if not isinstance(one, SpatialData)]
    if wrong:
        raise PixnetTypeError(f"Sections must be SpatialData objects; got {', '.join(wrong)}. Read stores first.")
    return several


def resolve_mpp(
    config: TrainConfig, asked: float | None, images: Sequence[float], model: Model | None, allow_upsample: bool
) -> TrainConfig:
    """Set the µm per pixel of the network: those asked for, or its own unless an image is coarser."""
    own, coarsest = config.network.mpp, max(images)
    if asked is None and (model is not None or allow_upsample or coarsest <= own * (1 + COARSER)):
        return config
    if asked is None:
        logger.info("the model reads %.4g µm per pixel, as the coarsest image has, instead of %.4g", coarsest, own)
    elif model is not None and asked != model.mpp:
        raise PixnetValueError(f"A model that is fine-tuned keeps its µm per pixel, {model.mpp:g}; got mpp={asked!r}.")
    return replace(config, network=replace(config.network, mpp=coarsest if asked is None else asked))


def warn_of_scale(network: NetworkConfig) -> None:
    """Warn where a foundation model would see tissue at another magnification than in its training."""
    row = FOUNDATION.get(network.encoder)
    if row is None:
        return
    seen = viewed_mpp(row, network.mpp, network.window_px)
    if not row.fits_scale(seen):
        warn(
            f"{row.name!r} was trained at {' and '.join(f'{scale:g}' for scale in row.scales)} µm per pixel (by "
            f"{row.scale_by}) and would see {seen:.3g}, more than {SCALE_TOLERANCE:.0%} off. Pass mpp={row.mpp:g} to "
            "read finer images at its scale, allow_upsample=True to interpolate coarser ones, or take another encoder."
        )


def describe_terms(encoder: str) -> str:
    """Say what the license of a foundation model means for a model on it."""
    row = FOUNDATION.get(encoder)
    if row is None:
        return Card.limits
    use = "" if row.commercial else ", not for commercial use"
    return f"its encoder {row.name} is licensed {row.license}{use}; see {row.url}"


def split_slides(
    slides: Sequence[Slide], validation: str | None, config: TrainConfig
) -> tuple[Sequence[Slide], Sequence[Slide], str]:
    """Return training slides, validation slides, and what the latter are, in words for the model's card."""
    if validation is None:
        return slides, [], "none"
    if validation != CORNER:
        raise PixnetValueError(f"validation must be {CORNER!r}, sections, or None; got {validation!r}.")
    buffer_um = max(config.network.context_um, default=0.0) / 2
    parts = [hold_out_corner(slide, buffer_um / slide.mpp) for slide in slides]
    training, held_out = zip(*parts, strict=True)
    return training, held_out, "a quarter of each section, which chose the epoch"


def read_validation(
    slides: Sequence[Slide], others: Sequence[FoundSection], reading: ReadOptions
) -> tuple[Sequence[Slide], str]:
    """Read sections to validate on, and describe them for the model's card."""
    read = [read_slide(section, f"validation {n}", reading) for n, section in enumerate(others, 1)]
    check_no_overlap(slides, read, f"Give sections that are not trained on, or validation={CORNER!r}.")
    return read, f"{len(read)} section(s), which chose the epoch"


def describe_data(slides: Sequence[Slide]) -> str:
    shapes = sum(len(measured.shapes) for slide in slides for measured in slide.measured)
    return f"{len(slides)} section(s), {shapes} shapes"


def marked_genes(section: FoundSection) -> list[str]:
    """Return the genes that are marked in the first table, or all of its genes."""
    table = section.keys.measured[0].table
    var: pd.DataFrame = section.sdata.tables[table].var
    mark = next((column for column in MARKS if column in var), None)
    if mark is None:
        return list(map(str, var.index))
    chosen = check_marks(var[mark], table)
    logger.info("the %d genes that are %r in table %r are modelled", len(chosen), mark, table)
    return chosen


def check_marks(marks: pd.Series, table: str) -> list[str]:
    """Return the names that are marked; marks that are missing, e.g. after a concatenation, are an error."""
    if marks.isna().any() or not set(marks.unique()) <= {True, False} or not marks.any():
        found = marks.value_counts(dropna=False).to_dict()
        raise PixnetValueError(
            f"Column {marks.name!r} of table {table!r} marks the genes to model, so it must be True or False, and True "
            f"for some; it holds {found}. Name genes=[...], or mark them again with pp.select_genes."
        )
    return list(map(str, marks.index[marks.astype(bool)]))


def progress_bars(enabled: bool) -> Callable[[int, str], Callable[..., object]]:
    """Return a function that starts a progress bar; a bar closes when it is full."""

    def start(total: int, text: str) -> Callable[[int], object]:
        bar = tqdm(total=total, desc=text, unit="step", disable=not enabled)
        return partial(advance_bar, bar)

    return start


def advance_bar(bar: tqdm, steps: int, postfix: str = "") -> None:
    bar.set_postfix_str(postfix, refresh=False)
    bar.update(steps)
    if bar.n >= bar.total:
        bar.close()
