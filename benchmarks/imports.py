"""Import time of pixnet_sd beside its neighbors: each in fresh processes, medians, one table."""

import argparse
import statistics
import subprocess
import sys
import time

MODULES = ("pixnet_sd", "scanpy", "squidpy", "spatialdata", "torch")


def seconds(module: str) -> float:
    """Of a fresh interpreter that imports a module; its start is part of what a user waits for."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rounds = [{module: seconds(module) for module in ("sys", *MODULES)} for _ in range(repeats + 1)][1:]
    median = {module: statistics.median(one[module] for one in rounds) for module in rounds[0]}
    print("| import | seconds | share of scanpy |\n|---|---|---|")
    for module in MODULES:
        print(f"| {module} | {median[module]:.2f} | {median[module] / median['scanpy']:.2f} |")
    print(f"\nAn empty interpreter takes {median['sys']:.2f} s. Median of {repeats} fresh processes each.")


if __name__ == "__main__":
    main()
