"""One map to be made: of which image, by which model, under which names, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from spatialdata import SpatialData

from pixnet_sd import __version__
from pixnet_sd._errors import PixnetValueError
from pixnet_sd._keys import expression_key, loadings_key, programs_key, tissue_key
from pixnet_sd._raster.grid import Window
from pixnet_sd._sdata import affine, build, levels, maps, provenance, units
from pixnet_sd._sdata.counts import gene_columns
from pixnet_sd._settings import logger, settings
from pixnet_sd.tl._prediction.options import PredictOptions
from pixnet_sd.tl._prediction.plan import PredictionPlan, gene_table
from pixnet_sd.tl._prediction.source import digests


@dataclass(frozen=True)
class MapNames:
    """Of the elements that a prediction adds."""

    programs: str
    loadings: str
    expression: str

    @property
    def all(self) -> list[str]:
        return [self.programs, self.loadings, self.expression]

    @property
    def kinds(self) -> dict[str, str]:
        return {self.programs: "images", self.loadings: "tables", self.expression: "images"}


def names_for(image_key: str, image_key_added: str | None) -> MapNames:
    programs = programs_key(image_key_added or image_key)
    return MapNames(programs, loadings_key(programs), image_key_added or expression_key(image_key))


@dataclass(frozen=True)
class MapOutput:
    """A request, settled for one object."""

    sdata: SpatialData
    request: PredictOptions
    job: PredictionPlan

    def __post_init__(self) -> None:
        """Before any work: nothing may be made in place of what it is made from, and every gene must be known."""
        if self.job.image_key in self.names.all:
            raise PixnetValueError(
                f"The result would be called {self.job.image_key!r} and replace the image that it is made from. Give "
                "another image_key_added."
            )
        if self.genes is not None:
            gene_columns(gene_table(self.job.model).index, self.genes, "the model")

    @property
    def names(self) -> MapNames:
        return names_for(self.job.image_key, self.request.image_key_added)

    @property
    def tissue_key(self) -> str | None:
        """None where no labels mark the tissue."""
        return None if self.job.tissue is None else self.request.tissue_key or tissue_key(self.job.image_key)

    @property
    def genes(self) -> list[str] | None:
        """Those to write out as plain pixels."""
        return self.request.genes

    @property
    def blank(self) -> Any:
        transformations = affine.grid_transformations(self.sdata.images[self.job.image_key], self.job.grid)
        return levels.blank_raster(self.job.shape, self.job.programs, transformations)

    @cached_property
    def windows(self) -> dict[int, Window]:
        """Of the raster, what each tile of the plan fills."""
        return {number: self.job.window(tile) for number, tile in enumerate(self.job.plan)}

    @cached_property
    def plan(self) -> dict[str, Any]:
        """All that must not change between the parts of one raster."""
        asked = {"genes": self.genes, "shards": self.request.shards}
        return {**self.made, "version": __version__, "grid": asdict(self.job.grid), **asked}

    def sources(self, numbers: Iterable[int]) -> dict[int, str]:
        """Digests of the pixels that tiles with these numbers are made from now."""
        return digests(self.job.picture, {number: self.job.plan[number].read for number in numbers})

    def changed(self, sources: Mapping[int, set[str]]) -> set[int]:
        """Of tiles made from pixels with these digests, those under which the image has other pixels now."""
        now = self.sources(sources)
        return {number for number, known in sources.items() if now[number] not in known}

    @property
    def made(self) -> dict[str, Any]:
        """What the programs depend on; names of other elements are not of it."""
        digest = None if self.job.tissue is None else self.job.tissue_digest
        return {"kind": "programs", "tissue_digest": digest, **self.job.facts()}

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What is recorded of each element."""
        names = self.names
        made = {**self.made, "stated": units.um_per_unit(self.sdata, self.job.image_key)}
        shared = {name: made[name] for name in ("image", "unit", "mpp", "model", "sha256", "stated")}
        lazy = {"programs": names.programs} if self.genes is None else {}
        return {
            names.programs: {**made, "expression": names.expression},
            names.loadings: {"kind": "loadings", "sha256": shared["sha256"]},
            names.expression: {"kind": "expression", **shared, **lazy},
        }

    def loadings(self, facts: Mapping[str, Any]) -> Any:
        """The table that goes with the programs, and says of them what they do themselves."""
        job = self.job
        table = build.make_loadings(job.model.loadings, job.programs, gene_table(job.model), self.names.programs)
        table.obs["member"] = job.members
        provenance.describe_loadings(table, facts)
        return table

    def stamped(self, name: str, element: Any) -> Any:
        """An element that is not in an object, with what is known of it."""
        return provenance.stamped(element, provenance.described(element, name, self.facts[name]))

    def raster(self, programs: Any, genes: Sequence[str] | None) -> maps.Map:
        found = self.job.as_map(self.names.programs, levels.arrays_of(programs)[0])
        return found if genes is None else maps.select_genes_of(found, genes)


def is_small(task: MapOutput, raster: maps.Map) -> bool:
    """Whether all genes may be attached; otherwise a line in the log says how to get some."""
    needed = len(raster.genes) * raster.data[0].size * 4
    if needed > settings.raster_limit:
        logger.info(
            "%d genes would take %.1f GB when written, more than settings.raster_limit; "
            "tl.expand(sdata, genes=[...], raster_key=%r) attaches some of them",
            len(raster.genes),
            needed / 1e9,
            task.names.programs,
        )
    return needed <= settings.raster_limit
