"""The dask cluster that the user has started, if any. Knows dask.distributed only where somebody else loaded it."""

from __future__ import annotations

import sys
from typing import Any


def active_client() -> Any | None:
    """The active `dask.distributed.Client`, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:  # no client has been started
        return None
