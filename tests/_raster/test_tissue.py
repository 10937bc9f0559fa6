from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from pixnet_sd._errors import PixnetTypeError, PixnetValueError
from pixnet_sd._raster.tissue import Mask, close_mask, dilate_mask, edge_block_means, remove_small, tissue_mask

MPP = 8.0
SIDE = 160
HEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
GRAY = np.array([1.0, 1.0, 1.0])


def disc(radius_um: float, center_um: tuple[float, float] = (640, 640), mpp: float = MPP, side: int = SIDE) -> Mask:
    y, x = (np.mgrid[:side, :side] + 0.5) * mpp
    return np.hypot(y - center_um[0], x - center_um[1]) < radius_um


def slide(*layers: tuple[np.ndarray, np.ndarray], white: float = 0.95) -> np.ndarray:
    """Light that passes through dyes: pairs of a dye's absorption (3,) and its amount (y, x)."""
    shape = layers[0][1].shape if layers else (SIDE, SIDE)
    density = sum((dye[:, None, None] * amount for dye, amount in layers), np.zeros((3, *shape)))
    return (white * 10.0**-density).astype(np.float32)


def tissue(where: Mask, strength: float = 1.0) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Eosin everywhere, and nuclei of a pixel each in a third of the pixels."""
    nuclei = np.random.default_rng(0).random(where.shape) < 1 / 3
    return (EOSIN, 0.15 * strength * where), (HEMATOXYLIN, 0.6 * strength * (where & nuclei))


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


def agrees(found: Mask, truth: Mask, within_um: float = 35.0) -> bool:
    """Whether the two differ only close to the border of the truth."""
    return bool(
        found[~dilate_mask(~truth, within_um / MPP)].all() and not found[~dilate_mask(truth, within_um / MPP)].any()
    )


@pytest.mark.parametrize("strength", [0.4, 1.0, 2.0, 3.0])
def test_a_disc_of_tissue_is_found_where_it_is(strength: float) -> None:
    truth = disc(400)
    assert agrees(tissue_mask(slide(*tissue(truth, strength)), MPP), truth)


def test_smooth_pale_tissue_is_found_and_a_smear_of_eosin_is_not() -> None:
    where = disc(400)
    pale = slide((HEMATOXYLIN, 0.1 * where), (EOSIN, 0.04 * where))
    assert agrees(tissue_mask(pale, MPP), where)
    assert not tissue_mask(slide((EOSIN, 0.06 * where)), MPP).any()


def test_alveoli_are_tissue_with_their_air() -> None:
    """Walls of one pixel around squares of bare glass."""
    where = disc(500)
    walls = where & ((np.indices(where.shape) % 10 == 0).any(axis=0))
    found = tissue_mask(slide((HEMATOXYLIN, 0.3 * walls), (EOSIN, 0.2 * walls)), MPP)
    assert found[disc(400)].all()
    assert not found[~disc(520)].any()


def test_the_outline_is_right_to_a_pixel_and_a_half() -> None:
    truth = disc(400)
    assert agrees(tissue_mask(slide(*tissue(truth)), MPP), truth, within_um=1.5 * MPP)


def test_more_sensitivity_finds_paler_tissue() -> None:
    where = disc(400)
    faint = slide((HEMATOXYLIN, 0.05 * where), (EOSIN, 0.03 * where))
    assert not tissue_mask(faint, MPP).any()
    assert agrees(tissue_mask(faint, MPP, sensitivity=2), where)


def test_uint8_and_float_agree() -> None:
    image = (255 * slide(*tissue(disc(400)))).astype(np.uint8)
    assert (tissue_mask(image, MPP) == tissue_mask(image / 255, MPP)).all()


def test_the_mask_turns_and_flips_with_the_image() -> None:
    image = slide(*tissue(disc(400, (500, 700))))
    mask = tissue_mask(image, MPP)
    assert overlap(tissue_mask(np.rot90(image, axes=(1, 2)), MPP), np.rot90(mask)) > 0.999
    assert overlap(tissue_mask(image[:, ::-1], MPP), mask[::-1]) > 0.999


def test_the_lamp_does_not_matter() -> None:
    image = slide(*tissue(disc(400)))
    tint = np.array([0.9, 0.85, 0.93], np.float32)[:, None, None]
    shade = np.linspace(0.8, 1.0, SIDE, dtype=np.float32)
    for lit in (image * 0.5, image * tint, image * shade):
        assert overlap(tissue_mask(lit, MPP), tissue_mask(image, MPP)) > 0.98


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_padding_does_not_matter(value: float) -> None:
    tint = np.array([0.9, 0.85, 0.93], np.float32)[:, None, None]
    image = slide(*tissue(disc(400)), white=1.0) * tint
    padded = np.pad(image, ((0, 0), (100, 100), (100, 100)), constant_values=value)
    found = tissue_mask(padded, MPP)
    assert overlap(found[100:-100, 100:-100], tissue_mask(image, MPP)) > 0.98
    assert found.sum() == found[100:-100, 100:-100].sum()


@pytest.mark.parametrize("mpp", [2.0, 4.0, 8.0, 40.0])
@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.98, 0.88, 0.93)])
def test_an_empty_slide_has_no_tissue(color: tuple[float, float, float], mpp: float) -> None:
    flat = np.broadcast_to(np.array(color)[:, None, None], (3, SIDE, SIDE))
    noise = np.random.default_rng(0).normal(0, 0.05, flat.shape)
    assert not tissue_mask(flat, mpp).any()
    assert not tissue_mask(np.clip(flat + noise, 0, 1), mpp).any()


def test_a_smear_of_eosin_is_not_tissue() -> None:
    smear = ndimage.gaussian_filter(disc(400, (640, 900)).astype(float), 15)
    assert not tissue_mask(slide((EOSIN, 0.08 * smear)), MPP).any()
    truth = disc(350, (640, 500))
    assert agrees(tissue_mask(slide(*tissue(truth), (EOSIN, 0.08 * smear)), MPP), truth)


@pytest.mark.parametrize("dye", [GRAY, HEMATOXYLIN, EOSIN], ids=["gray", "blue", "pink"])
def test_printed_dots_are_not_tissue(dye: np.ndarray) -> None:
    dots = np.logical_or.reduce([disc(50, (y, x)) for y in range(120, 1280, 200) for x in range(120, 1280, 200)])
    assert not tissue_mask(slide((dye, 0.8 * dots)), MPP).any()


def test_a_blurred_frame_and_a_bubble_are_not_tissue() -> None:
    frame = ndimage.gaussian_filter(np.pad(np.zeros((120, 120)), 20, constant_values=1), 4)
    bubble = disc(150, (500, 900)) & ~disc(120, (500, 900))
    truth = disc(250, (900, 400))
    image = slide(*tissue(truth), (GRAY, 0.3 * frame), (GRAY, 0.5 * bubble))
    assert agrees(tissue_mask(image, MPP), truth)


def test_an_image_full_of_tissue_is_all_tissue() -> None:
    everywhere = np.ones((SIDE, SIDE), bool)
    assert tissue_mask(slide(*tissue(everywhere)), MPP).all()
    assert tissue_mask(slide((EOSIN, 0.3 * everywhere)), MPP).all()


def test_tissue_without_color_is_found_by_its_density() -> None:
    truth = disc(400)
    image = slide(*tissue(truth)).mean(axis=0)
    assert agrees(tissue_mask(np.stack([image] * 3), MPP), truth)


def test_small_holes_belong_to_the_tissue_and_large_ones_do_not() -> None:
    lumen, hole = disc(80, (640, 300)), disc(200, (640, 800))
    found = tissue_mask(slide(*tissue(disc(600) & ~lumen & ~hole)), MPP)
    assert found[lumen].all()
    assert found[hole].mean() < 0.2


def test_debris_is_dropped_and_a_fragment_kept() -> None:
    debris, fragment = disc(60, (300, 300)), disc(200, (900, 900))
    found = tissue_mask(slide(*tissue(debris | fragment)), MPP)
    assert not found[debris].any()
    assert found[fragment].mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 7), (161, 33)])
def test_any_size_works(shape: tuple[int, int]) -> None:
    for mpp in (2.0, 8.0, 40.0):
        white, full = np.ones((3, *shape)), slide((EOSIN, np.full(shape, 0.3)))
        assert tissue_mask(white, mpp).shape == shape
        assert not tissue_mask(white, mpp).any()
        assert tissue_mask(full, mpp).all()


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        (np.zeros((4, 4, 3)), PixnetValueError, r"\(4, 4, 3\)"),
        (np.zeros((3, 0, 4)), PixnetValueError, r"\(3, 0, 4\)"),
        (np.zeros((3, 4, 4), np.uint16), PixnetTypeError, "uint16"),
        (np.full((3, 4, 4), 255.0), PixnetValueError, "255"),
        (np.full((3, 4, 4), np.nan), PixnetValueError, "nan"),
    ],
)
def test_other_images_are_refused(image: np.ndarray, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        tissue_mask(image, MPP)


@pytest.mark.parametrize("mpp", [0.0, -1.0, np.nan, np.inf])
def test_a_pixel_has_a_size(mpp: float) -> None:
    with pytest.raises(PixnetValueError, match="positive"):
        tissue_mask(np.ones((3, 4, 4)), mpp)


def test_closing_joins_pieces_up_to_twice_its_radius_apart() -> None:
    mask = np.zeros((9, 20), bool)
    mask[:, :5] = mask[:, 9:] = True
    assert (close_mask(mask, 1.9) == mask).all()
    assert close_mask(mask, 2.0).all()


def test_near_is_the_euclidean_distance() -> None:
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    y, x = np.mgrid[:7, :7] - 3
    assert (dilate_mask(mask, 2.3) == (np.hypot(y, x) <= 2.3)).all()
    assert not dilate_mask(np.zeros((7, 7), bool), 100).any()


def test_small_pieces_go_unless_they_fill_the_image() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:2, :2] = mask[5:, 5:] = True
    assert remove_small(mask, 5).sum() == 25
    assert remove_small(mask, 1000).sum() == 25


def test_blocks_average_and_repeat_the_edge() -> None:
    image = np.arange(15, dtype=np.float32).reshape(1, 3, 5)
    assert edge_block_means(image, 2)[0].tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


def her2st_image(folder: Path, section: str) -> tuple[np.ndarray, float]:
    with Image.open(folder / "her2st" / "images" / f"{section}.jpg") as file:
        full_width = file.width
        file.draft("RGB", (file.width // 8, file.height // 8))
        return np.asarray(file).transpose(2, 0, 1), 0.690 * full_width / file.width


def share_on(mask: Mask, spots: pd.DataFrame, um_per_spot_px: float, mpp: float) -> float:
    x, y = (spots[["pixel_x", "pixel_y"]].to_numpy() * um_per_spot_px / mpp).astype(int).T
    return float(mask[y, x].mean())


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("section", ["C2", "C3", "C4", "C5"])
def test_spots_of_a_real_section_lie_on_tissue_and_smears_do_not(real_data: Path, section: str) -> None:
    image, mpp = her2st_image(real_data, section)
    mask = tissue_mask(image, mpp)
    spots = pd.read_csv(real_data / "her2st" / "spots" / f"{section}.tsv", sep="\t").query("selected == 1")
    assert share_on(mask, spots, 0.690, mpp) >= 0.97
    assert 0.10 < mask.mean() < 0.25
    assert ndimage.label(mask)[1] == 1
    # Spots were picked by hand up to the border, 200 µm apart; a smear that is let in would reach beyond that.
    columns, rows = (spots[["pixel_x", "pixel_y"]].to_numpy() * 0.690 / mpp).astype(int).T
    measured = np.zeros_like(mask)
    measured[rows, columns] = True
    assert (mask & ~dilate_mask(measured, 300 / mpp)).sum() < 0.02 * mask.sum()


@pytest.mark.parametrize("section", ["MOB1", "MOB2", "MOB3"])
def test_pale_brain_is_found_and_the_printed_frame_is_not(real_data: Path, section: str) -> None:
    with Image.open(real_data / "mob_st" / f"{section}.jpg") as file:
        image = np.asarray(file.reduce(2)).transpose(2, 0, 1)
    mask = tissue_mask(image, 8.88)
    spots = pd.read_csv(real_data / "mob_st" / f"alignment_table_{section}.tsv.gz", sep="\t").query("selected == 1")
    assert share_on(mask, spots, 4.44, 8.88) >= 0.95
    assert 0.09 < mask.mean() < 0.13
    assert ndimage.label(mask)[1] == 1


def test_gray_glass_and_printed_rings_are_not_tissue(real_data: Path) -> None:
    """A mouse brain whose glass is at half the camera's range, inside a frame of fiducials."""
    with Image.open(real_data / "mousebrain_visium_mini" / "V1_Adult_Mouse_Brain_image_small.tif") as file:
        image = np.asarray(file.convert("RGB")).transpose(2, 0, 1)
    mask = tissue_mask(image, 7.3)
    assert 0.33 < mask.mean() < 0.36
    assert mask[:, 950:].mean() < 0.01
    assert mask[:60].mean() == mask[:, :150].mean() == 0


@pytest.mark.filterwarnings("ignore:Image size")
def test_the_mask_does_not_depend_on_the_resolution(real_data: Path) -> None:
    image, mpp = her2st_image(real_data, "C3")
    with Image.open(real_data / "her2st" / "images" / "C3.jpg") as file:
        file.draft("RGB", (file.width // 4, file.height // 4))
        fine_image = np.asarray(file).transpose(2, 0, 1)
    height, width = (side // 4 * 4 for side in image.shape[1:])
    coarse_image = edge_block_means(image[:, :height, :width].astype(np.float32) / 255, 4).clip(0, 1)
    fine = tissue_mask(fine_image, mpp / 2)[: 2 * height, : 2 * width]
    coarse = tissue_mask(coarse_image, 4 * mpp).repeat(8, axis=0).repeat(8, axis=1)
    assert overlap(fine, coarse) > 0.9
