"""A process that is forked after torch has used threads computes what its parent computed, instead of hanging."""

import os
import subprocess
import sys

import pytest

PATIENCE_S = 600
"""Of a machine that is busy; a process that hangs never ends."""
SCRIPT = """
import multiprocessing
import numpy as np
import torch
from hardening.slides import aggregate, picture, pixels, predict, section, squares

torch.set_num_threads(2)
pictured = {"he": picture(pixels(128, 128)), "cells": squares()}
expected = section(**pictured)
predict(expected, "he", tile_size=128)
fork = multiprocessing.get_context("fork")
answers = fork.SimpleQueue()


def child():
    found = section(**pictured)
    predict(found, "he", tile_size=128)
    answers.put((found["he_programs"].values, aggregate(found, "cells").X))


process = fork.Process(target=child)
process.start()
programs, table = answers.get()
process.join()
wanted = expected["he_programs"].values
np.testing.assert_allclose(programs, wanted, atol=1e-5 * np.abs(wanted).max())
np.testing.assert_allclose(table, aggregate(expected, "cells").X, rtol=1e-4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork, or not safely")
def test_a_forked_process_predicts_what_its_parent_does_and_says_that_it_uses_one_thread() -> None:
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_WAIT_POLICY": "PASSIVE"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **paths}
    )
    assert ended.returncode == 0, ended.stderr
    assert "computing with one" in ended.stderr
