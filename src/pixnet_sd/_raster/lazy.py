"""Values of a lazy array, or an error that says that they cannot be had. Knows only that it has `compute`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pixnet_sd._errors import PixnetError, PixnetRuntimeError


def load_lazy(array: Any, *, scheduler: str | None = None) -> np.ndarray:
    """All values; what fails in there is a file that is damaged or out of reach, whatever its library calls that."""
    try:
        return np.asarray(array.compute(scheduler=scheduler))
    except (PixnetError, MemoryError):
        raise
    except Exception as error:
        raise PixnetRuntimeError(
            f"An array {array.shape} cannot be read ({type(error).__name__}: {error}). A file that holds it may "
            "be damaged or out of reach. Put that right and repeat the call; nothing was changed."
        ) from error
