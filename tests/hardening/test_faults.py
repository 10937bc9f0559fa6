"""One law for all faults: inputs keep their bytes, the store opens, and the same call ends with the same bytes."""

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hardening import slide_folder
from hardening.disturbed import DONE
from hardening.faults import CASES, FAULTS, SEED
from hardening.slide_folder import SlideFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are POSIX")
Undisturbed = Callable[[str], tuple[SlideFolder, dict[str, str]]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> SlideFolder:
    folder = tmp_path_factory.mktemp("slides") / "begun"
    folder.mkdir()
    slide_folder.write(folder)
    warm_up = SlideFolder(folder, "predict").copy(folder.with_name("warm-up"), "predict")
    assert warm_up.ended() == DONE
    return SlideFolder(folder, "")


@pytest.fixture(scope="module")
def undisturbed(begun: SlideFolder) -> Undisturbed:
    """A call's slide before it, with the time that it takes, and its files after it."""

    @cache
    def find(call: str) -> tuple[SlideFolder, dict[str, str]]:
        slide = begun.copy(begun.folder.with_name(call), call)
        process, start = slide.start(), time.monotonic()
        process.join()
        assert process.exitcode == DONE, slide.said
        return SlideFolder(begun.folder, call, time.monotonic() - start), slide.files()

    return find


@pytest.mark.parametrize(("call", "fault"), CASES, ids=[f"{call}: {name}" for call, name in CASES])
def test_nothing_is_lost(call: str, fault: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    print(f"FAULT_SEED={SEED}")
    before, expected = undisturbed(call)
    slide = before.copy(tmp_path / "slide", call, before.whole_s)
    happen, _ = FAULTS[fault]
    happen(slide)
    assert slide.inputs() == before.inputs()
    slide_folder.require_usable(slide, tmp_path / "spare.zarr")
    slide_folder.require_same_in_the_end(slide, expected)
