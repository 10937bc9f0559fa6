"""Values of lazy arrays, and the dask cluster that the user has started, if any. Imports no dask."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pixnet_sd._errors import PixnetError, PixnetRuntimeError


def active_client() -> Any:
    """Return the active `dask.distributed.Client`; None inside a worker's task, which would wait for itself."""
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


def load_lazy(array: Any, *, scheduler: str | None = None) -> np.ndarray:
    """Compute all values; an error of any library means a file that is damaged or out of reach."""
    try:
        return np.asarray(array.compute(scheduler=scheduler))
    except (PixnetError, MemoryError):
        raise
    except Exception as error:
        raise PixnetRuntimeError(
            f"An array {array.shape} cannot be read ({type(error).__name__}: {error}). A file that holds it may "
            "be damaged or out of reach. Put that right and repeat the call; nothing was changed."
        ) from error
