"""Run compiled kernels and GEOS calls, both of which release the GIL, over ranges of rows in threads.

Threads rather than numba's own `parallel`: no threading layer to be missing or to abort when two Python threads (a
dask worker's, say) enter it at once, and kernels compile in a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

PARTS_PER_THREAD = 8
"""More parts than threads, so that a few large shapes do not leave the other threads idle."""


def thread_count() -> int:
    """Return the cores of this process, or what NUMBA_NUM_THREADS says."""
    return numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


def over_ranges(work: Callable[..., Any], n: int, *args: Any, smallest: int = 64) -> list[Any]:
    """Run `work(start, stop, *args)` over ranges that partition `range(n)`; return results in order.

    What a row gets must not depend on the ranges: then neither does the result, whatever the number of threads.
    """
    threads = thread_count()
    parts = min(threads * PARTS_PER_THREAD, -(-n // smallest))
    if threads == 1 or parts < 2:
        return [work(0, n, *args)]
    edges = np.linspace(0, n, parts + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda start, stop: work(start, stop, *args), edges[:-1], edges[1:]))


def in_threads(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    """Run a row-wise function that releases the GIL, such as shapely's, in threads."""
    return np.concatenate(over_ranges(lambda start, stop: function(array[start:stop]), len(array), smallest=10_000))
