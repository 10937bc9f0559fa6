"""An active dask cluster pools on its workers, with the same result; without one distributed is not imported."""

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import shapely
from precision import assert_close

from pixnet_sd._dask import active_client
from pixnet_sd._zonal.aggregate import aggregate
from pixnet_sd._zonal.shapes import from_polygons


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("statistic", ["sum", "mean", "std", "min", "max", "median"])
def test_workers_give_the_same_result(client, statistic):
    rng = np.random.default_rng(0)
    corner = rng.uniform(-10, 190, (2, 300))
    boxes = shapely.box(*corner, *(corner + rng.uniform(1, 30, (2, 300))))
    shapes = from_polygons(np.concatenate([boxes, shapely.buffer(shapely.centroid(boxes), 11), [None]]), np.eye(3))
    raster = rng.normal(size=(4, 200, 180)).astype(np.float32)
    raster[1, 50:90] = np.nan
    lazy = da.from_array(raster, chunks=(2, 60, 70))
    assert active_client() is client
    there, here = aggregate(lazy, shapes, statistic, block_limit=70 * 60 * 8), aggregate(raster, shapes, statistic)
    assert_close(there.values, here.values, ulp=4096)
    assert_close(there.covered, here.covered, ulp=4096)


def test_looking_for_a_client_does_not_import_distributed():
    code = "import sys; from pixnet_sd._dask import active_client; print(active_client(), 'distributed' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "False"]


def test_a_task_of_a_worker_computes_by_itself():
    """Else it would wait for work that it is in the way of."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert client.submit(active_client).result() is None
