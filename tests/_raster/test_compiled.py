"""Kernels run wherever the package can be read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import pixnet_sd
from pixnet_sd._raster import compiled

CODE = """
import numpy as np, pixnet_sd
from pixnet_sd._zonal.rings import extend_bounds, ring_area
print(pixnet_sd.__file__)
assert ring_area(np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 0.0]])) == 1.0
"""


def test_without_a_place_for_compiled_code_it_is_compiled_and_said_once(tmp_path: Path) -> None:
    package, file = tmp_path / "pixnet_sd", tmp_path / "file"
    shutil.copytree(Path(pixnet_sd.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    # Files where folders would have to be made keep the superuser out, too.
    for place in (file, package / "_zonal" / "__pycache__", package / "_raster" / "__pycache__"):
        place.touch()
    nowhere = {"HOME": str(file / "home"), "XDG_CACHE_HOME": str(file / "cache"), "NUMBA_CACHE_DIR": ""}
    environment = {**os.environ, **nowhere, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(package))
    assert run.stderr.count("compiled code cannot be cached") == 1


def test_the_log_says_once_that_something_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    compiled.say_once_that_it_compiles.cache_clear()

    def double(x: float) -> float:
        return 2 * x

    double.__module__ = "pixnet_sd.somewhere"
    kernel = numba.njit(double)
    assert (kernel(1.0), kernel(2)) == (2.0, 4)  # two signatures
    assert caplog.text.count("compiling, once") == 1
