"""Statistics of the pixels that shapes cover, fused with the coverage: weights are used and thrown away. numba only.

Each kernel takes rows `begin` to `end` of `rows` (which shapes to do), a window, the window's pixels as `flat`
(channels, pixels), and adds to per-shape state in float64:
- area[i]: the area of the window that shape i covers; missing[i, c]: what of it has NaN in channel c;
- flawed[i]: whether missing[i] was written, so that nobody need read the rest of it.
A NaN gives itself away in a sum, so clean pixels are never tested one by one.
"""

from __future__ import annotations

from math import isnan

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pixnet_sd._raster.compiled import njit
from pixnet_sd._zonal.spans import fill_batch, new_batch, new_cursor


@njit(nogil=True)
def sum_range(begin, end, geometry, rows, window, flat, area, missing, flawed, total):
    batch, cursor = new_batch(window), new_cursor(begin)
    places, cuts, weights, owner, first, covered, _ = batch
    while cursor[0] < end:
        runs = fill_batch(geometry, rows, end, window, cursor, batch)
        for c in range(len(flat)):
            plane, ahead = flat[c], flat[min(c + 1, len(flat) - 1)]
            for e in range(runs):
                i, added = owner[e], weighted_sum(plane, ahead, places, cuts, weights, first[e], first[e + 1])
                if isnan(added):
                    valid, added = valid_sum(plane, places, cuts, weights, first[e], first[e + 1])
                    missing[i, c] += covered[e] - valid
                    flawed[i] = True
                total[i, c] += added
        for e in range(runs):
            area[owner[e]] += covered[e]


@njit(nogil=True)
def extreme_range(begin, end, geometry, rows, window, flat, area, missing, flawed, extreme, sign):
    """Find the least of sign * value: the minimum for sign = 1, minus the maximum for sign = -1."""
    batch, cursor = new_batch(window), new_cursor(begin)
    places, cuts, weights, owner, first, covered, _ = batch
    while cursor[0] < end:
        runs = fill_batch(geometry, rows, end, window, cursor, batch)
        for c in range(len(flat)):
            plane = flat[c]
            for e in range(runs):
                i = owner[e]
                least, clean = least_of(plane, places, cuts, first[e], first[e + 1], sign)
                if not clean:
                    missing[i, c] += covered[e] - valid_sum(plane, places, cuts, weights, first[e], first[e + 1])[0]
                    flawed[i] = True
                extreme[i, c] = min(extreme[i, c], least)
        for e in range(runs):
            area[owner[e]] += covered[e]


@njit(nogil=True)
def spread_range(begin, end, geometry, rows, window, flat, area, missing, flawed, weight, mean, squares):
    """Mean and sum of weighted squares about it: two passes over a run, runs merged, so large offsets do no harm."""
    batch, cursor = new_batch(window), new_cursor(begin)
    places, cuts, weights, owner, first, covered, _ = batch
    while cursor[0] < end:
        runs = fill_batch(geometry, rows, end, window, cursor, batch)
        for c in range(len(flat)):
            plane, ahead = flat[c], flat[min(c + 1, len(flat) - 1)]
            for e in range(runs):
                i, valid = owner[e], covered[e]
                added = weighted_sum(plane, ahead, places, cuts, weights, first[e], first[e + 1])
                if isnan(added):
                    valid, added = valid_sum(plane, places, cuts, weights, first[e], first[e + 1])
                    missing[i, c] += covered[e] - valid
                    flawed[i] = True
                if valid > 0:
                    center = added / valid
                    part = squares_about(center, plane, places, cuts, weights, first[e], first[e + 1])
                    merged = merge_spread(weight[i, c], mean[i, c], squares[i, c], valid, center, part)
                    weight[i, c], mean[i, c], squares[i, c] = merged
        for e in range(runs):
            area[owner[e]] += covered[e]


@njit(nogil=True, fastmath={"reassoc", "nsz", "contract"})
def weighted_sum(plane, ahead, places, cuts, weights, begin, end):
    """Sum a run in `plane` by weight, and prefetch its pixels in `ahead`, the next plane.

    Rows of a cell are too short for the processor to guess what follows: this takes a third off 64 channels.
    """
    total = 0.0
    for s in range(begin, end):
        place, cut, length = places[s], cuts[s], cuts[s + 1] - cuts[s]
        prefetch(ahead, place)  # type: ignore[call-arg]
        prefetch(ahead, place + length - 1)
        # Unsigned, because Python's negative indices would cost a test per pixel and the vector instructions.
        for k in range(length):
            total += weights[np.uintp(cut + k)] * plane[np.uintp(place + k)]
    return total


@njit(nogil=True)
def valid_sum(plane, places, cuts, weights, begin, end):
    """Weight and weighted sum of the pixels that are not NaN."""
    valid, total = 0.0, 0.0
    for s in range(begin, end):
        for k in range(cuts[s], cuts[s + 1]):
            value = plane[places[s] + k - cuts[s]]
            if not isnan(value):
                valid += weights[k]
                total += weights[k] * value
    return valid, total


@njit(nogil=True)
def least_of(plane, places, cuts, begin, end, sign):
    least, clean = np.inf, True
    for s in range(begin, end):
        for k in range(cuts[s + 1] - cuts[s]):
            value = sign * plane[places[s] + k]
            clean &= not isnan(value)
            # A comparison with NaN is false.
            least = value if value < least else least
    return least, clean


@njit(nogil=True)
def squares_about(center, plane, places, cuts, weights, begin, end):
    total = 0.0
    for s in range(begin, end):
        for k in range(cuts[s], cuts[s + 1]):
            apart = plane[places[s] + k - cuts[s]] - center
            total += 0.0 if isnan(apart) else weights[k] * apart * apart
    return total


@njit(nogil=True)
def merge_spread(weight_a, mean_a, squares_a, weight_b, mean_b, squares_b):
    """Weight, mean and squares of two samples together (Chan, Golub and LeVeque 1979)."""
    # Not sums of squares less the squared sum, which cancel where the mean is large against the spread.
    share, apart = weight_b / (weight_a + weight_b), mean_b - mean_a
    squares = squares_a + squares_b + apart * apart * weight_a * share
    return weight_a + weight_b, mean_a + apart * share, squares


@njit(nogil=True)
def quantile_range(begin, end, start, values, weights, quantile, out, covered):
    """Compute weighted quantiles of the records start[i] to start[i + 1] of each shape; values are (channels, records).

    Sample k of n, in ascending order, stands at s_k = k w_k + (n - 1) (w_0 + ... + w_(k-1)); the quantile is read at
    the share `quantile` of (n - 1) times the whole weight, linearly in between. Equal weights make it numpy's default,
    and it is what exactextract computes. Equal values are ordered by weight, so the order of arrival does not matter.
    """
    for i in range(begin, end):
        weight = weights[start[i] : start[i + 1]]
        for c in range(len(values)):
            value = values[c, start[i] : start[i + 1]].astype(np.float64)
            kept = ~np.isnan(value)
            w, v = weight[kept], value[kept]
            # Two stable sorts: by value, and by weight among equal values.
            order = np.argsort(w, kind="mergesort")
            order = order[np.argsort(v[order], kind="mergesort")]
            covered[i, c] = w.sum()
            out[i, c] = quantile_of(v[order], w[order], quantile)


@njit(nogil=True)
def quantile_of(values, weights, quantile):
    n = len(values)
    if n == 0:
        return np.nan
    wanted = quantile * weights.sum() * (n - 1)
    below, place, value = 0.0, 0.0, values[0]
    for k in range(n):
        here = k * weights[k] + (n - 1) * below
        if here > wanted:
            return value + (wanted - place) * (values[k] - value) / (here - place)
        place, value = here, values[k]
        below += weights[k]
    return value


@intrinsic
def prefetch(typing_context, array, index):
    """Begin to bring array[index] into the cache, without waiting for it; `array` is 1-D, `index` not negative."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]], wraparound=False)
        address, i32 = builder.bitcast(pointer, cgutils.voidptr_t), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32])
        instruction = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        to_read, keep, data = i32(0), i32(3), i32(1)
        builder.call(instruction, [address, to_read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
