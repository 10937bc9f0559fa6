"""A line in the log for encoders that look at fixed windows: how much a map shows them."""

from __future__ import annotations

from dataclasses import replace

from pixnet_sd._log import logger
from pixnet_sd.nn.seams import seam
from pixnet_sd.tl._job import Job


def report_seam(job: Job, *, device: str | None = None) -> None:
    """Looks at some windows in the middle of the work; for encoders without windows it costs nothing.

    `device` is where to compute them, if not where the work is done: a driver may lack what its workers have.
    """
    if not job.plan:
        return
    how = replace(job.how, device=device or job.how.device)
    found = seam(job.model.network, job.picture, job.plan[len(job.plan) // 2].core, how)
    if found is not None:
        encoder = job.model.network.members[0].config.encoder
        logger.info("seams: across the windows of %r the map changes %.2f times as much as within them", encoder, found)
