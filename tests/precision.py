"""Compare floats by the precision of their type."""

from typing import Any

import numpy as np


def assert_close(found: Any, expected: Any, *, ulp: float = 64, of: Any = None) -> None:
    """Equal but for rounding: at most `ulp` units in the last place of the largest expected value.

    Sums in another order (other tiles, batches, threads, processors) differ by that much, also where values are small:
    those are often differences of large ones. Give these in `of` where `expected` does not hold them. The type is the
    coarser of the two.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    types = [array.dtype for array in (found, expected) if array.dtype.kind == "f"]
    coarser = min(types, key=lambda dtype: dtype.itemsize)
    largest = np.nanmax(np.abs(expected if of is None else of), initial=0)
    atol = ulp * float(np.spacing(coarser.type(largest)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
