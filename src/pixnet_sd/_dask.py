"""The dask cluster that the user has started, if any. Knows dask.distributed only where somebody else loaded it."""

from __future__ import annotations

import sys
from typing import Any


def active_client() -> Any:
    """The active `dask.distributed.Client`, or None; inside a task of a worker None, for it would wait for itself."""
    distributed = sys.modules.get("distributed")
    if distributed is None or is_in_task(distributed):
        return None
    try:
        return distributed.Client.current()
    except ValueError:  # no client has been started
        return None


def is_in_task(distributed: Any) -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
