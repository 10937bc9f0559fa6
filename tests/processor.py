"""The machine that tests run on, for a result that differs elsewhere."""

import os
import platform
from pathlib import Path

VECTORS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
"""Features by which libraries choose their kernels."""


def description() -> str:
    cores, load = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(), os.getloadavg()
    return f"processor: {model()} ({features() or 'features unknown'}), {cores} cores, load {load[0]:.1f}"


def model() -> str:
    return cpuinfo("model name") or platform.processor() or platform.machine()


def features() -> str:
    there = (cpuinfo("flags") or cpuinfo("Features")).split()
    return " ".join(name for name in VECTORS if name in there)


def cpuinfo(key: str) -> str:
    """What Linux says of the first core; elsewhere nothing."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0].strip() == key), "")
