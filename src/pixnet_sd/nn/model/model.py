"""A model: trained networks, their genes, and a card. Torch and arrays.

A model comes from training or from a file, never with random weights by default.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from pixnet_sd._errors import PixnetValueError, one_line
from pixnet_sd.nn.encoders.fetch import PRETRAINED
from pixnet_sd.nn.model import schema, skeleton
from pixnet_sd.nn.model.domain import StainDomain
from pixnet_sd.nn.model.encoder import fetch_encoder, is_encoder_weight, reference_encoder
from pixnet_sd.nn.model.file import (
    compare_tensors,
    find_model,
    named_errors,
    read_description,
    read_weights,
    write_model,
)
from pixnet_sd.nn.network.ensemble import Ensemble
from pixnet_sd.nn.network.fixed import replace_loadings
from pixnet_sd.nn.network.network import PixNet

FIRST = "members.0."


@dataclass(frozen=True)
class Card:
    """The model card: origin, license and held-out scores of a model."""

    name: str
    """Short name of the model."""
    tissue: str = "unknown"
    """Tissue it was trained on."""
    species: str = "unknown"
    """Species it was trained on."""
    data: str = "unknown"
    """Sections, patients and technology of the training data."""
    license: str = "unknown"
    """License of the weights, the encoder's included."""
    limits: str = "unknown"
    """Known failures, and data on which it was never tested."""
    validation: str = "none"
    """The data held out for `scores`."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Held-out Pearson correlation of each gene."""
    residuals: Mapping[str, float] = field(default_factory=dict)
    """The same with Pearson residuals, from which depth is removed; empty where not known."""
    reliable: Sequence[str] = ()
    """Genes whose residuals are predicted better than by one map for all genes; empty where not known."""

    def select(self, genes: Sequence[str]) -> Card:
        """Keep the scores of these genes."""
        kept = set(genes)
        scores, residuals = ({g: v for g, v in own.items() if g in kept} for own in (self.scores, self.residuals))
        reliable = tuple(gene for gene in self.reliable if gene in kept)
        return replace(self, scores=scores, residuals=residuals, reliable=reliable)


class Model:
    """Trained networks with their genes, in eval mode.

    Parameters
    ----------
    members
        One network, or several with the same stride, unit and um/px: their mean is the prediction.
    genes
        Symbols, in the order of the loadings.
    card
        Origin and scores of the model.
    ensembl
        Ensembl ids in the same order, where known.
    library_size
        Counts over all genes in a training shape of size factor 1: the library size that rates refer to.
    history
        Training curves, by name.
    stain_domain
        Stain domain of the training data, where known.
    """

    def __init__(
        self,
        members: Sequence[PixNet],
        genes: Sequence[str],
        card: Card,
        *,
        ensembl: Sequence[str] | None = None,
        library_size: float | None = None,
        history: Mapping[str, Sequence[float]] | None = None,
        stain_domain: StainDomain | None = None,
    ) -> None:
        self.network = Ensemble(members).eval()
        self.genes, self.card, self.library_size = tuple(genes), card, library_size
        self.ensembl = None if ensembl is None else tuple(ensembl)
        self.history = {key: list(values) for key, values in (history or {}).items()}
        self.stain_domain = stain_domain
        check_genes(self.genes, self.ensembl, self.network.loadings.shape[1])

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of the images it reads."""
        return self.network.mpp

    @property
    def unit(self) -> str:
        """Either "counts/um2", which may be summed over a shape, or "log1p", which may only be averaged."""
        return self.network.unit

    @property
    def reliable(self) -> tuple[str, ...]:
        """Genes that the card calls reliable; all where it does not say."""
        known = set(self.card.reliable or self.genes)
        return tuple(gene for gene in self.genes if gene in known)

    @property
    def loadings(self) -> np.ndarray:
        """(K, G): pooled programs times these are genes."""
        return self.network.loadings.detach().cpu().numpy()

    @property
    def intercept(self) -> np.ndarray:
        """(G,): added after the loadings; zero for rates."""
        return self.network.intercept.detach().cpu().numpy()

    @cached_property
    def sha256(self) -> str:
        """Checksum of the weights file, computed once: weights are not modified after training or loading."""
        return hashlib.sha256(self.weights()).hexdigest()

    def weights(self) -> bytes:
        """Serialize the weights file."""
        return safetensors.torch.save({key: value.contiguous().cpu() for key, value in self.tensors().items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights to store: shared features once; no encoder that is named instead."""
        names = self.network.state_dict()
        return {key: names[key] for key in names if self.is_stored(key)}

    def is_stored(self, key: str) -> bool:
        shared = self.network.shares_features and is_shared(key)
        return not shared and (self.encoder is None or not is_encoder_weight(key))

    @cached_property
    def encoder(self) -> dict[str, str] | None:
        """The encoder that is named in the file, to be fetched when it is loaded; None if the file holds it."""
        return reference_encoder(self.network)

    def description(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON."""
        return {
            "genes": list(self.genes),
            "ensembl": None if self.ensembl is None else list(self.ensembl),
            "unit": self.unit,
            "mpp": self.mpp,
            "library_size": self.library_size,
            "members": [{"network": one.config.to_json(), **one.reach._asdict()} for one in self.network.members],
            "shared_features": self.network.shares_features,
            "card": {**asdict(self.card), "reliable": list(self.card.reliable)},
            "history": self.history,
            "encoder": self.encoder,
            "stain_domain": None if self.stain_domain is None else self.stain_domain.to_json(),
        }

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a folder with `weights.safetensors` and `model.json`."""
        write_model(Path(path), self.weights(), self.description(), overwrite=overwrite)

    @classmethod
    def load(cls, name: str | Path, *, encoder_weights: str | Path | None = PRETRAINED) -> Model:
        """Read a model: a folder, "default" for the one in the package, or "hf-hub:org/name@revision".

        A model on a frozen encoder whose terms forbid to pass it on names that encoder, which is then fetched, or read
        from the safetensors file `encoder_weights`. It must be the one that the model was trained on.
        """
        folder = find_model(name)
        with named_errors(folder):
            description = schema.check_description(read_description(folder))
        # Before any network is built: a forged description must not cost memory.
        compare_tensors(folder, expected_tensors(description, folder))
        tensors = read_weights(folder, description["sha256"])
        with named_errors(folder):
            model = from_description(description)
        members = model.network.members
        if description["encoder"] is not None:
            tensors |= fetch_encoder(description["encoder"], members[0].config, encoder_weights, len(members))
        with named_errors(folder):
            model.network.load_state_dict(unshare_features(tensors, len(members)))
            model.network.share_features()
        members[0].encoder.published = description["encoder"] is not None
        model.sha256 = description["sha256"]
        return model

    def select(self, genes: Sequence[str]) -> Model:
        """Return a model of rates with some of the genes, in this order; their maps and scores stay the same."""
        names = [genes] if isinstance(genes, str) else list(genes)
        missing = [gene for gene in names if gene not in self.genes]
        if missing or not names:
            raise PixnetValueError(
                f"Name some of the model's {len(self.genes)} genes, such as {list(self.genes[:3])}; got {names[:5]}, "
                f"of which it lacks {len(missing)}."
            )
        columns = [self.genes.index(gene) for gene in names]
        tables = [member.loadings.detach()[:, columns] for member in self.network.members]
        return self.with_loadings(names, tables, self.card.select(names))

    def join_genes(self, genes: Sequence[str], loadings: np.ndarray, card: Card) -> Model:
        """Return a model of rates with more genes, (K, G) in the loadings of the mean.

        A gene that the model has gets the new loadings; the others keep theirs to the bit.
        """
        kept = [number for number, gene in enumerate(self.genes) if gene not in set(genes)]
        table = torch.from_numpy((loadings * len(self.network.members)).astype(np.float32))
        pairs = zip(self.network.members, self.network.programs_of_members, strict=True)
        tables = [torch.cat([one.loadings.detach()[:, kept], table[rows]], dim=1) for one, rows in pairs]
        return self.with_loadings([*(self.genes[number] for number in kept), *genes], tables, card)

    def with_loadings(self, genes: Sequence[str], tables: Sequence[torch.Tensor], card: Card) -> Model:
        """Return a model with the same programs and other genes, by one table (K, G) for each member."""
        members = [replace_loadings(*pair) for pair in zip(self.network.members, tables, strict=True)]
        return Model(members, genes, card, library_size=self.library_size, stain_domain=self.stain_domain)

    def __repr__(self) -> str:
        summary = self.summary()
        width = max(map(len, summary))
        lines = [f"  {key:<{width}}  {value}" for key, value in summary.items()]
        return "\n".join([f"Model {self.card.name!r}", *lines])

    def _repr_html_(self) -> str:
        rows = (
            f'<tr><th style="text-align:left">{escape(key)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for key, value in self.summary().items()
        )
        return f"<div><strong>Model {escape(one_line(self.card.name))}</strong><table>{''.join(rows)}</table></div>"

    def summary(self) -> dict[str, str]:
        """Summarize the model, one line for each fact."""
        network, card = self.network, self.card
        first = ", ".join(self.genes[:5]) + (", ..." if len(self.genes) > 5 else "")
        facts = {
            "genes": f"{len(self.genes)} ({first})",
            "unit": self.unit,
            "image": f"{self.mpp:g} um/px; the map has {self.mpp * network.stride:g} um/px",
            "network": describe_network(network),
            "tiles": f"alignment {network.alignment} px, margin {network.margin} px",
            "tissue": f"{card.tissue}, {card.species}",
            "data": card.data,
            "held-out": describe_scores(card),
            "limits": card.limits,
            "license": card.license,
            "sha256": self.sha256,
        }
        return {key: one_line(value) for key, value in facts.items()}


def expected_tensors(description: dict[str, Any], folder: Path) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the expected tensors of one member after the other."""
    for number, member in enumerate(description["members"]):
        with named_errors(folder):
            tensors = skeleton.meta_tensors(member, len(description["genes"]))
        named = {f"members.{number}.{key}": value for key, value in tensors.items()}
        stored = {key: value for key, value in named.items() if not (description["shared_features"] and is_shared(key))}
        yield {key: stored[key] for key in stored if description["encoder"] is None or not is_encoder_weight(key)}


def is_shared(key: str) -> bool:
    """Return whether a weight is one of the features of a member that is not the first."""
    _, number, part = key.split(".")[:3]
    return number != "0" and part == "features"


def unshare_features(tensors: dict[str, torch.Tensor], members: int) -> dict[str, torch.Tensor]:
    """Add the first member's features to every member without its own."""
    first = {key.removeprefix(FIRST): value for key, value in tensors.items() if key.startswith(f"{FIRST}features.")}
    every = {f"members.{number}.{key}": value for number in range(members) for key, value in first.items()}
    return {**every, **tensors}


def from_description(description: dict[str, Any]) -> Model:
    """Build a described model with random weights."""
    genes = description["genes"]
    model = Model(
        [skeleton.build_network(one, len(genes)) for one in description["members"]],
        genes,
        Card(**description["card"]),
        ensembl=description["ensembl"],
        library_size=description["library_size"],
        history=description["history"],
        stain_domain=description["stain_domain"] and StainDomain.from_json(description["stain_domain"]),
    )
    for name in ("unit", "mpp"):
        if getattr(model, name) != description[name]:
            raise PixnetValueError(f"`{name}` is {description[name]!r}, but its networks have {getattr(model, name)!r}")
    return model


def check_genes(genes: tuple[str, ...], ensembl: tuple[str, ...] | None, columns: int) -> None:
    repeated = [gene for gene, count in Counter(genes).items() if count > 1]
    if repeated:
        raise PixnetValueError(f"A model's genes must be unique; repeated: {repeated[:5]}.")
    for name, values in (("genes", genes), ("ensembl", ensembl or genes)):
        if len(values) != columns:
            raise PixnetValueError(f"The networks predict {columns} genes, but `{name}` has {len(values)}.")


def describe_network(network: Ensemble) -> str:
    config = network.members[0].config
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    count = len(network.members)
    members = f"{count} members, " if count > 1 else ""
    return f"{config.encoder} + {config.decoder}, {members}K = {len(network.loadings)}, {parameters:.1f} M parameters"


def describe_scores(card: Card) -> str:
    if not card.scores:
        return "no score"
    return f"Pearson {np.mean(list(card.scores.values())):.3f}, mean of {len(card.scores)} genes ({card.validation})"
