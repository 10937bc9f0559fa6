"""Defaults of the session that users may change, and the logger of the package. Knows nothing else."""

from __future__ import annotations

import logging
from dataclasses import dataclass


@dataclass
class Settings:
    """Defaults for every call of the session, e.g. `ps.settings.progress = False`."""

    progress: bool = True
    """Show progress bars for long work."""
    raster_limit: int = 2 * 1024**3
    """Bytes above which all gene channels are not attached, since a write would materialise them."""
    block_limit: int = 256 * 1024**2
    """Bytes of raster that aggregation holds at once, for each block in flight."""
    backend: str = "auto"
    """What runs networks: "torch", "openvino", or "auto", OpenVINO on CPUs where it is installed."""
    cache_dir: str | None = None
    """Folder of what was computed once and is kept, such as converted networks; None for the user's cache folder."""


settings = Settings()

logger = logging.getLogger("pixnet_sd")

# An application that has given it handlers before the import keeps them.
if not logger.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # A root logger that somebody has set up would show each line twice.
    logger.propagate = False
