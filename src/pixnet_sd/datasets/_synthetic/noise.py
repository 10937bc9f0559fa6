"""Noise that depends on nothing but a seed and a place, so that any window of it can be computed alone.

Scalars inside compiled functions, arrays at the two doors at the end. Knows numpy and numba only.
Hash: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). Noise: Perlin's (SIGGRAPH 2002), with free
gradients instead of twelve.
"""

import math

import numpy as np
from numba import uint64

from pixnet_sd._raster.compiled import njit

FACTOR_I, FACTOR_J, FACTOR_SEED = uint64(0x9E3779B97F4A7C15), uint64(0xC2B2AE3D27D4EB4F), uint64(0xD6E8FEB86659FD93)
MIX_1, MIX_2 = uint64(0xBF58476D1CE4E5B9), uint64(0x94D049BB133111EB)
S30, S27, S31, S32, S11 = uint64(30), uint64(27), uint64(31), uint64(32), uint64(11)
LOW_32 = uint64(0xFFFFFFFF)


@njit(nogil=True)
def lattice_hash(seed, i, j):
    """64 well-mixed bits for a lattice site."""
    bits = uint64(seed) * FACTOR_SEED + uint64(i) * FACTOR_I + uint64(j) * FACTOR_J
    bits = (bits ^ (bits >> S30)) * MIX_1
    bits = (bits ^ (bits >> S27)) * MIX_2
    return bits ^ (bits >> S31)


@njit(nogil=True)
def uniform_at(seed, i, j):
    """Return a number in [0, 1) for a lattice site."""
    return float(lattice_hash(seed, i, j) >> S11) * (1.0 / 9007199254740992.0)


@njit(nogil=True)
def slope_at(seed, i, j, u, v):
    """Height at (u, v) from a site whose plane has a hashed gradient in [-1, 1]^2."""
    bits = lattice_hash(seed, i, j)
    gu, gv = float(bits & LOW_32) * (2.0 / 4294967296.0) - 1.0, float(bits >> S32) * (2.0 / 4294967296.0) - 1.0
    return gu * u + gv * v


@njit(nogil=True)
def smooth_noise(x, y, scale, seed):
    """Smooth noise with features of size `scale`: mean 0, standard deviation about 0.35, within [-2, 2]."""
    x, y = x / scale, y / scale
    fx, fy = math.floor(x), math.floor(y)
    j, i, u, v = int(fx), int(fy), x - fx, y - fy
    blend_u, blend_v = u * u * u * (u * (u * 6 - 15) + 10), v * v * v * (v * (v * 6 - 15) + 10)
    top = slope_at(seed, i, j, u, v)
    top += blend_u * (slope_at(seed, i, j + 1, u - 1, v) - top)
    low = slope_at(seed, i + 1, j, u, v - 1)
    low += blend_u * (slope_at(seed, i + 1, j + 1, u - 1, v - 1) - low)
    return 2.0 * (top + blend_v * (low - top))


@njit(nogil=True)
def fractal_noise(x, y, scale, octaves, seed):
    """Noise at `scale`, half of it at half the scale, and so on; each octave is turned, which hides the lattice."""
    total, weight = 0.0, 1.0
    for octave in range(octaves):
        x, y = 0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y
        total += weight * smooth_noise(x, y, scale * weight, seed + 7919 * octave)
        weight *= 0.5
    return total


@njit(nogil=True)
def uniforms_at(seed, i, j, count):
    """(sites, count) numbers in [0, 1), `count` for each site (i, j)."""
    values = np.empty((len(i), count))
    for site in range(len(i)):
        for k in range(count):
            values[site, k] = uniform_at(seed + 104729 * k, i[site], j[site])
    return values


@njit(nogil=True)
def bend_places(y, x, seed):
    """Places moved by at most 20, so that a lattice's rows are no longer straight lines."""
    y_bent, x_bent = np.empty_like(y), np.empty_like(x)
    for k in range(len(y)):
        y_bent[k] = y[k] + 10.0 * smooth_noise(x[k], y[k], 70.0, seed)
        x_bent[k] = x[k] + 10.0 * smooth_noise(x[k], y[k], 70.0, seed + 1)
    return y_bent, x_bent


@njit(nogil=True)
def camera_noise(height, width, y0, x0, seed):
    """(3, y, x) float32 noise of a sensor, about normal with unit variance, a value for each pixel and channel."""
    values = np.empty((3, height, width), np.float32)
    for channel in range(3):
        for i in range(height):
            for j in range(width):
                bits = lattice_hash(seed + channel, y0 + i, x0 + j)
                total = (bits & LOW_32 & uint64(0xFFFF)) + ((bits >> uint64(16)) & uint64(0xFFFF))
                total += ((bits >> S32) & uint64(0xFFFF)) + (bits >> uint64(48))
                # Four uniforms on [0, 65536): their sum has variance 4 / 12.
                values[channel, i, j] = (float(total) / 65536.0 - 2.0) * 1.7320508
    return values
