"""The only writer of a map: programs, loadings and genes, into the object or into the store that backs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from anndata import AnnData
from spatialdata import SpatialData

from pixnet_sd._errors import PixnetRuntimeError, PixnetValueError
from pixnet_sd._keys import expression_key, loadings_key, programs_key
from pixnet_sd._sdata import affine, build, levels, provenance
from pixnet_sd._sdata.counts import gene_columns
from pixnet_sd._sdata.storage import origin, places, publish
from pixnet_sd._sdata.storage.attach import attach_in_memory, check_results
from pixnet_sd._sdata.storage.growing import PartialRaster, open_partial
from pixnet_sd._sdata.storage.origin import store_path
from pixnet_sd._settings import logger, settings
from pixnet_sd.tl._prediction.diagnostics import measure_outliers
from pixnet_sd.tl._prediction.plan import PredictionPlan, gene_table
from pixnet_sd.tl._prediction.tiles import changed_tiles, check_space_for, missing_tiles

SHARED = ("image", "unit", "mpp", "model", "sha256", "stated")
"""What is recorded of genes because it is known of their programs."""


@dataclass(frozen=True)
class MapNames:
    """Names of the elements that a prediction adds."""

    programs: str
    loadings: str
    expression: str

    @classmethod
    def of(cls, image_key: str, image_key_added: str | None) -> MapNames:
        programs = programs_key(image_key_added or image_key)
        return cls(programs, loadings_key(programs), image_key_added or expression_key(image_key))

    @property
    def kinds(self) -> dict[str, str]:
        return {self.programs: "images", self.loadings: "tables", self.expression: "images"}


@dataclass(frozen=True)
class MapWriter:
    """Writes the map of a plan."""

    sdata: SpatialData
    plan: PredictionPlan

    def __post_init__(self) -> None:
        """Check before any work that the image is not replaced by its own map, and that every gene is known."""
        if self.plan.image_key in self.names.kinds:
            raise PixnetValueError(
                f"The result would be called {self.plan.image_key!r} and replace the image that it is made from. Give "
                "another image_key_added."
            )
        if self.genes is not None:
            gene_columns(gene_table(self.plan.model).index, self.genes, f"model {self.plan.model.card.name!r}")

    @property
    def names(self) -> MapNames:
        return MapNames.of(self.plan.image_key, self.plan.options.image_key_added)

    @property
    def genes(self) -> list[str] | None:
        """Genes to write as plain pixels."""
        return self.plan.options.genes

    @property
    def blank(self) -> Any:
        """The programs without pixels."""
        return levels.blank_raster(self.plan.shape, self.plan.programs, self.plan.transformations)

    @cached_property
    def outlier_share(self) -> float | None:
        """Share of patches outside of the model's stain domain."""
        return measure_outliers(self.plan)

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The record of each element."""
        seen = {"stated": self.plan.stated, "outlier_share": self.outlier_share}
        names, made = self.names, {**self.plan.facts, **seen}
        lazy = {"programs": names.programs} if self.genes is None else {}
        return {
            names.programs: {**made, "expression": names.expression},
            names.loadings: {"kind": "loadings", "sha256": made["sha256"]},
            names.expression: {"kind": "expression", **{name: made[name] for name in SHARED}, **lazy},
        }

    def check_names(self, done: set[str] | None = None) -> None:
        check_results(self.sdata, self.names.kinds, overwrite=self.plan.options.overwrite, done=done or set())

    def make_loadings(self, facts: Mapping[str, Any]) -> AnnData:
        """Make the table beside the programs, with what is recorded of them."""
        plan = self.plan
        table = build.make_loadings(plan.model.loadings, plan.programs, gene_table(plan.model), self.names.programs)
        table.obs["member"] = plan.members
        provenance.describe_loadings(table, facts)
        return table

    def make_genes(self, programs: Any, genes: Sequence[str] | None) -> Any:
        """Make the image of genes over programs, lazily."""
        raster = self.plan.as_map(self.names.programs, levels.arrays_of(programs)[0], genes)
        return levels.expand_genes(programs, raster)

    def stamped(self, name: str, element: Any) -> Any:
        """Return an element that is not in an object yet with its record."""
        return provenance.attach_facts(element, provenance.describe_raster(element, name, self.facts[name]))

    def make_expression(self, programs: Any) -> Any:
        """Make the image of genes from programs in memory: lazily, or as plain pixels if genes were chosen."""
        lazy = self.make_genes(programs, self.genes)
        return lazy if self.genes is None else levels.fill_levels(lazy, levels.arrays_of(lazy)[0].compute())

    def make_result(self, values: np.ndarray) -> Any:
        """Make the image of genes from pixels of programs, for the caller."""
        return self.stamped(self.names.expression, self.make_expression(levels.fill_levels(self.blank, values)))

    def attach(self, values: np.ndarray) -> None:
        """Add the map to an object in memory."""
        names, programs = self.names, levels.fill_levels(self.blank, values)
        facts = provenance.describe_raster(programs, names.programs, self.facts[names.programs])
        elements = {names.loadings: self.make_loadings(facts), names.programs: programs}
        if self.genes is not None or is_small(self.plan, names.programs):
            elements[names.expression] = self.make_expression(programs)
        elif names.expression in self.sdata.images:
            del self.sdata.images[names.expression]
        attach_in_memory(self.sdata, elements, self.facts)
        self.renew_genes()

    @contextmanager
    def to_store(self, *, resume: bool) -> Iterator[tuple[PartialRaster, list[int]]]:
        """Open the raster beside the store, with the numbers of its missing tiles; publish it when these are written.

        A call that was stopped while it published has no tiles left to compute.
        """
        sdata, names, overwrite = self.sdata, self.names, self.plan.options.overwrite
        begun = resume and publish.is_publishing(sdata, names.programs)
        done = self.find_moved() if begun else set()
        self.check_names(done)
        require = partial(places.check_places, sdata, names.kinds, overwrite=overwrite, done=done)
        with open_partial(sdata, names.programs, self.blank, self.plan.identity, resume=resume) as growing:
            if begun:
                self.check_same_image(growing)
                yield growing, []
            else:
                missing = missing_tiles(self.plan, growing)
                check_space_for(sdata, names.programs, self.plan, missing)
                yield growing, missing
                growing.add_levels()
                self.stage(growing)
            self.publish(growing, require)

    def stage(self, growing: PartialRaster) -> None:
        """Write what goes with the raster beside it."""
        names = self.names
        programs = self.stamped(names.programs, levels.with_arrays(self.blank, growing.lazy_levels()))
        # Beside the pixels, so that they are known whatever becomes of the object's attributes.
        origin.write_facts(growing.element, provenance.of_attributes(programs) or {})
        after = {}
        if self.genes is not None:
            after[names.expression] = self.stamped(names.expression, self.make_genes(programs, self.genes))
        publish.stage_map(growing, {names.loadings: self.stored_loadings(growing)}, after)

    def stored_loadings(self, growing: PartialRaster) -> AnnData:
        """Make the loadings, with what is recorded beside the programs, wherever these are by now."""
        moved = store_path(self.sdata) / "images" / self.names.programs
        return self.make_loadings(origin.facts_of_group(growing.element if growing.element.exists() else moved) or {})

    def publish(self, growing: PartialRaster, require: Any) -> None:
        """Move what is staged into the store, and attach it to the object."""
        sdata, names = self.sdata, self.names
        obsolete = names.expression if self.genes is None and self.plan.options.overwrite else None
        tables = {names.loadings: self.stored_loadings(growing)}
        elements = publish.publish_map(sdata, growing, tables, self.facts, require, obsolete=obsolete)
        attach_in_memory(sdata, elements, self.facts)
        if self.genes is None:
            self.attach_genes()
        self.renew_genes()
        publish.delete_partial(growing)

    def find_moved(self) -> set[str]:
        """Find what a call that was stopped has moved into the store, or attached over what it had moved."""
        moved = publish.find_moved(self.sdata, self.names.programs)
        stored = {name for _, name in places.list_stored(store_path(self.sdata))}
        lazy = {self.names.expression} - stored if self.genes is None and self.names.programs in moved else set()
        return moved | lazy

    def check_same_image(self, growing: PartialRaster) -> None:
        """Check that the image is still the one that a complete raster was made from."""
        noted = {number: {source for _, source in notes} for number, notes in growing.ledger.notes.items()}
        changed = changed_tiles(self.plan, noted)
        if changed:
            raise PixnetRuntimeError(
                f"{self.names.programs!r} is complete and on its way into the store, but image "
                f"{self.plan.image_key!r} has changed under {len(changed)} of its {len(self.plan.tiles)} tiles since. "
                "Pass resume=False, overwrite=True to begin anew."
            )

    def attach_genes(self) -> None:
        """Attach all genes over the programs in the store, for this object only, unless they are too large."""
        sdata, names = self.sdata, self.names
        if is_small(self.plan, names.programs):
            genes = self.make_genes(sdata.images[names.programs], None)
            attach_in_memory(sdata, {names.expression: genes}, self.facts)
        elif names.expression in sdata.images:
            del sdata.images[names.expression]

    def renew_genes(self) -> None:
        """Attach genes that `tl.expand` attached over the earlier map over the new one, if it has them all."""
        sdata, names = self.sdata, self.names
        programs = sdata.images[names.programs]
        facts = {**self.facts[names.expression], "programs": names.programs}
        for name, element in list(sdata.images.items()):
            if name in names.kinds or not provenance.is_attached_over(element, names.programs):
                continue
            genes = [str(gene) for gene in affine.finest_array(element).coords["c"].values]
            del sdata.images[name]
            if set(genes) <= set(self.plan.model.genes):
                attach_in_memory(sdata, {name: self.make_genes(programs, genes)}, {name: facts})
            else:
                logger.info("removed sdata.images[%r]: the new map has not all of its genes", name)


def is_small(plan: PredictionPlan, programs_key: str) -> bool:
    """Return whether all genes may be attached; otherwise log how to attach some."""
    needed = len(plan.model.genes) * plan.grid.height * plan.grid.width * 4
    if needed > settings.raster_limit:
        logger.info(
            "%d genes would take %.1f GB when written, more than settings.raster_limit; "
            "tl.expand(sdata, genes=[...], raster_key=%r) attaches some of them",
            len(plan.model.genes),
            needed / 1e9,
            programs_key,
        )
    return needed <= settings.raster_limit
