"""Fixtures that several test files share."""

import os
from pathlib import Path

import dask
import processor
import pytest
import tiny
import torch
from hypothesis import HealthCheck, settings
from spatialdata import SpatialData, deepcopy
from threadpoolctl import threadpool_limits

import pixnet_sd as ps

# The first call of a compiled kernel takes a second, and others may keep the processor busy: no example is too slow.
UNTIMED: dict = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=50, derandomize=True, **UNTIMED)
settings.load_profile("default")

# Threads that share their cores with others wait for one another far longer than the small work of tests takes.
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
torch.set_num_threads(THREADS)
threadpool_limits(THREADS, user_api="blas")

# Workers of dask start in seconds, or in minutes where other work keeps the processor busy; children see the variables.
WAITS = {"comm.timeouts.connect": "30 minutes", "comm.timeouts.tcp": "30 minutes", "scheduler.worker-ttl": "30 minutes"}
for key, value in WAITS.items():
    dask.config.set({f"distributed.{key}": value})
    os.environ[f"DASK_DISTRIBUTED__{key.replace('.', '__').replace('-', '_').upper()}"] = value

REPOSITORY = Path(__file__).parents[1]


def pytest_report_header() -> str:
    return processor.description()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real sections, slides and encoders; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("PIXNET_SD_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder}; set PIXNET_SD_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def toy_section() -> SpatialData:
    """A synthetic section of 256 µm; read only, tests that write take `toy`."""
    return ps.datasets.toy(size_px=512)


@pytest.fixture
def toy(toy_section: SpatialData) -> SpatialData:
    """The same, to write to."""
    return deepcopy(toy_section)


@pytest.fixture(scope="session")
def learnt() -> ps.Model:
    """What 200 steps learn of 24 genes on another section; read only."""
    measured = ps.datasets.toy(1, size_px=512)
    ps.pp.select_genes(measured, "bins_8um_counts", n_top_genes=24)
    few = ps.TrainConfig(network=tiny.STAIN, steps=200)
    return ps.tl.train(measured, table_key="bins_8um_counts", config=few, name="bins", progress=False)


@pytest.fixture(scope="session")
def real_section(real_data: Path) -> SpatialData:
    """A real breast cancer section with its spots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXNET_SD_DATA_DIR", str(real_data))
        return ps.datasets.her2st("C2")
