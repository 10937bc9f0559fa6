import pickle
import tracemalloc

import numpy as np
import pytest
import shapely

from pixnet_sd._errors import PixnetValueError
from pixnet_sd._raster.grid import Window, make_tiles
from pixnet_sd._raster.stain import separate_stains
from pixnet_sd.datasets._synthetic.histology import Histology
from pixnet_sd.datasets._synthetic.nuclei import CELL_TYPES, REACH, REACH_UM, nuclei_near

SIDE = 640


@pytest.fixture(scope="module")
def slide() -> Histology:
    return Histology(SIDE, SIDE, seed=3)


@pytest.fixture(scope="module")
def image(slide: Histology) -> np.ndarray:
    return slide.image(slide.window)


@pytest.fixture(scope="module")
def rates(slide: Histology) -> np.ndarray:
    return slide.programs(slide.window)


@pytest.fixture(scope="module")
def tissue(slide: Histology) -> np.ndarray:
    return slide.tissue(slide.window)


def render(slide: Histology, window: Window) -> tuple[np.ndarray, np.ndarray]:
    return slide.image(window), slide.programs(window)


def in_polygons(polygons: np.ndarray, side: int) -> np.ndarray:
    """Pixels of a square image whose center lies in a polygon."""
    y, x = np.mgrid[:side, :side] + 0.5
    inside = np.zeros(side * side, bool)
    inside[shapely.STRtree(shapely.points(x.ravel(), y.ravel())).query(polygons, predicate="contains")[1]] = True
    return inside.reshape(side, side)


@pytest.fixture(scope="module")
def nuclei(slide: Histology) -> np.ndarray:
    return in_polygons(slide.cells()[0], SIDE)


@pytest.mark.parametrize("size", [97, 320])
def test_any_split_into_windows_gives_the_same_pixels(slide, image, rates, tissue, size):
    for tile in make_tiles(SIDE, SIDE, size=size):
        rows, columns = tile.core.slices
        part_image, part_rates = render(slide, tile.core)
        np.testing.assert_array_equal(part_image, image[:, rows, columns])
        np.testing.assert_array_equal(part_rates, rates[:, rows, columns])
        np.testing.assert_array_equal(slide.tissue(tile.core), tissue[rows, columns])


def test_a_window_far_out_on_a_large_slide_splits_as_well():
    slide, whole = Histology(20_000, 20_000, seed=2), Window(9_001, 12_345, 9_101, 12_545)
    left, right = Window(9_001, 12_345, 9_101, 12_400), Window(9_001, 12_400, 9_101, 12_545)
    for both, one, other in zip(render(slide, whole), render(slide, left), render(slide, right), strict=True):
        np.testing.assert_array_equal(both, np.concatenate([one, other], axis=2))


def test_shapes_and_types(slide, image, rates):
    assert image.shape == (3, SIDE, SIDE) and image.dtype == np.uint8
    assert rates.shape == (len(slide.program_names), SIDE, SIDE) and rates.dtype == np.float32
    assert slide.loadings.shape == (len(slide.program_names), len(slide.genes))
    assert len(set(slide.genes)) == len(slide.genes) >= 50


def test_the_seed_decides_the_slide(slide, image):
    np.testing.assert_array_equal(Histology(SIDE, SIDE, seed=3).image(slide.window), image)
    assert np.abs(Histology(SIDE, SIDE, seed=4).image(slide.window).astype(int) - image).mean() > 5


def test_a_pickled_slide_is_the_same_slide(slide):
    assert pickle.loads(pickle.dumps(slide)) == slide


def test_rates_are_non_negative_and_zero_on_glass(rates, tissue):
    assert 0.3 < tissue.mean() < 0.95
    assert np.isfinite(rates).all() and (rates >= 0).all()
    assert not rates[:, ~tissue].any()
    assert (rates[:, tissue].mean(axis=1) > 0.005).all()


def test_glass_is_white_and_tissue_is_not(image, tissue):
    brightness = image.mean(axis=0)
    assert np.median(brightness[~tissue]) > 235
    assert np.median(brightness[tissue]) < 200


def test_hematoxylin_tells_nuclei_from_the_rest_of_the_tissue(image, tissue, nuclei):
    hematoxylin = separate_stains(image)[0]
    inside, outside = hematoxylin[nuclei], hematoxylin[tissue & ~nuclei]
    assert np.quantile(inside, 0.1) > np.quantile(outside, 0.8)


def test_rates_are_highest_where_nuclei_are(rates, tissue, nuclei):
    total = rates.sum(axis=0)
    assert total[nuclei].mean() > 3 * total[tissue & ~nuclei].mean()


@pytest.mark.parametrize(
    ("cell_type", "program"),
    [
        ("epithelial", "epithelium"),
        ("fibroblast", "stroma"),
        ("lymphocyte", "lymphoid"),
        ("tumour", "proliferation"),
    ],
)
def test_each_kind_of_cell_has_the_program_of_its_kind(slide, rates, tissue, cell_type, program):
    polygons, types = slide.cells()
    inside = in_polygons(polygons[types == cell_type], SIDE)
    rate = rates[slide.program_names.index(program)]
    assert inside.any() and rate[inside].mean() > 4 * rate[tissue & ~inside].mean()


def test_hypoxia_of_equal_cells_depends_on_the_surroundings():
    """Tumour cells far from the edge against those near it: alike in what is seen, apart in this program."""
    slide = Histology(900, 900, mpp=1.0, seed=3)
    section, rates = slide.section(slide.window), slide.programs(slide.window)
    tumour = (section.kind == CELL_TYPES.index("tumour")) & (section.nucleus > 0.5)
    near, far = tumour & (section.fields.edge < 60), tumour & (section.fields.edge > 150)
    hypoxia, nuclear = (rates[slide.program_names.index(name)] for name in ("hypoxia", "nuclear"))
    assert min(near.sum(), far.sum()) > 1000
    assert hypoxia[far].mean() > 2 * hypoxia[near].mean()
    np.testing.assert_allclose(nuclear[far].mean(), nuclear[near].mean(), rtol=0.1)


def test_cells_are_valid_whole_and_known(slide):
    polygons, types = slide.cells()
    assert len(polygons) == len(types) > 300
    assert shapely.is_valid(polygons).all() and (shapely.area(polygons) > 10).all()
    bounds = shapely.bounds(polygons)
    assert bounds.min() >= 0 and bounds.max() <= SIDE
    assert set(types) == set(CELL_TYPES)
    assert set(shapely.get_num_coordinates(polygons)) <= set(range(17, 26))


def test_nuclei_have_the_size_of_nuclei():
    polygons, types = Histology(1024, 1024, seed=1).cells()
    across_um = 2 * np.sqrt(shapely.area(polygons) / np.pi) * 0.5
    for cell_type, low, high in [("lymphocyte", 5, 7.5), ("epithelial", 6, 9.5), ("tumour", 6.5, 13)]:
        assert low < np.median(across_um[types == cell_type]) < high


def test_cells_do_not_depend_on_the_blocks_they_are_made_in(monkeypatch):
    slide = Histology(700, 500, seed=5)
    whole = slide.cells()[0]
    monkeypatch.setattr("pixnet_sd.datasets._synthetic.histology.CELL_BLOCK_PX", 128)
    assert set(shapely.to_wkb(slide.cells()[0])) == set(shapely.to_wkb(whole))


def test_no_cell_reaches_farther_than_is_searched():
    slide = Histology(3000, 3000, seed=6)
    nuclei = nuclei_near(slide.plan, slide.window, slide.mpp)
    assert (1.2 * REACH * nuclei.form[:, 0]).max() < REACH_UM


@pytest.mark.parametrize("mpp", [0.25, 1.0, 2.0])
def test_total_rate_does_not_depend_on_the_sampling(mpp):
    fine = Histology(512, 512, mpp=0.5, seed=7)
    side = int(256 / mpp)
    other = Histology(side, side, mpp=mpp, seed=7)
    expected = fine.programs(fine.window).sum(axis=(1, 2), dtype=float) * 0.5**2
    found = other.programs(other.window).sum(axis=(1, 2), dtype=float) * mpp**2
    np.testing.assert_allclose(found, expected, rtol=0.05)
    np.testing.assert_allclose(len(other.cells()[0]), len(fine.cells()[0]), atol=0)


def test_gene_abundances_span_three_decades_in_a_visium_spot(slide, rates, tissue):
    spot_um2 = np.pi * 27.5**2
    counts = spot_um2 * rates[:, tissue].mean(axis=1) @ slide.loadings
    assert 0.02 < counts.min() < 0.5 and 50 < counts.max() < 500
    np.testing.assert_allclose(slide.loadings.sum(axis=1), 1, rtol=1e-5)
    assert (slide.loadings > 0).sum(axis=0).max() <= 2


def test_a_huge_slide_costs_only_the_window_asked_for():
    render(Histology(256, 256), Window(0, 0, 8, 8))
    tracemalloc.start()
    slide = Histology(20_000, 20_000)
    image = slide.image(Window(10_000, 10_000, 10_256, 10_256))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.shape == (3, 256, 256) and peak_bytes < 30e6


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (256, 257)])
def test_small_and_odd_sizes_work(size):
    slide = Histology(*size)
    image, rates = render(slide, slide.window)
    assert image.shape[1:] == rates.shape[1:] == size
    assert len(slide.cells()[0]) == len(slide.cells()[1])


@pytest.mark.parametrize("wrong", [{"height_px": 0}, {"mpp": 0.0}, {"mpp": float("nan")}, {"seed": -1}])
def test_impossible_slides_are_refused(wrong):
    with pytest.raises(PixnetValueError, match="got"):
        Histology(**{"height_px": 64, "width_px": 64, **wrong})
