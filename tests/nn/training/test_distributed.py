"""Two processes that share every batch train the network that one trains alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from nn.training.test_fit import CONFIG, slide, train

SCRIPT = """
import sys
import torch.distributed as dist
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from nn.training.test_fit import CONFIG, slide, train
dist.init_process_group("gloo")
model = train([slide(0)], replace(CONFIG, steps=12), (slide(2),), folder=Path(sys.argv[2]) / "state")
if dist.get_rank() == 0:
    model.save(Path(sys.argv[2]) / "model")
dist.destroy_process_group()
"""


def test_two_processes_match_one(tmp_path: Path) -> None:
    from dataclasses import replace

    from pixnet_sd.nn.model.model import Model

    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(Path(__file__).parents[2]), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    together, alone = Model.load(tmp_path / "model"), train([slide(0)], replace(CONFIG, steps=12), (slide(2),))
    np.testing.assert_allclose(together.history["loss 1"], alone.history["loss 1"], rtol=1e-4)
    for name, value in together.tensors().items():
        np.testing.assert_allclose(value, alone.tensors()[name], rtol=2e-3, atol=2e-4, err_msg=name)
