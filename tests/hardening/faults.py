"""What can happen to a call that writes, and when. A fault disturbs a call, and checks how that ends."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hardening.disturbed import CALLS, DONE, INTERRUPTED, REFUSED
from hardening.profiles import times
from hardening.read_only import read_only
from hardening.slide_folder import SlideFolder

Fault = Callable[[SlideFolder], None]
SEED = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(10**6)))
"""Of the random moments; it is printed with every failure."""
MOMENTS = times(0.05).max_examples


def killed(number: int, slide: SlideFolder) -> None:
    """At a random moment."""
    process = slide.start()
    process.join(moment_s(slide, number))
    process.kill()
    process.join()


def killed_while_publishing(slide: SlideFolder) -> None:
    """When the first element is in the store, and the others are not."""
    process = slide.start(waits_at="tables/he_programs_loadings")
    slide.wait_for("waits", process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not slide.is_finished


def interrupted(number: int, slide: SlideFolder) -> None:
    """By Ctrl-C at a random moment; a call that was quicker is done."""
    process = slide.start()
    process.join(moment_s(slide, number))
    if process.is_alive():
        os.kill(process.pid or 0, signal.SIGINT)
    process.join()
    assert process.exitcode in (DONE, INTERRUPTED)


def interrupted_in_batch(number: int, slide: SlideFolder) -> None:
    assert slide.ended(batch=number, act="interrupt") == INTERRUPTED


def disk_full(largest_file: int, slide: SlideFolder) -> None:
    assert slide.ended(largest_file=largest_file) == REFUSED
    assert "no more room" in slide.said


def damaged_pixels(damage: Callable[[bytes], bytes], slide: SlideFolder) -> None:
    """A chunk of the picture that cannot be decoded."""
    chunk = max((slide.store / "images" / "he").rglob("c/*/*/*"))
    with damaged(chunk, damage):
        assert slide.ended() == REFUSED
    assert "cannot be read" in slide.said


def damaged_model(damage: Callable[[bytes], bytes], slide: SlideFolder) -> None:
    with damaged(slide.folder / "model" / "weights.safetensors", damage):
        assert slide.ended() == REFUSED
    assert "weights.safetensors" in slide.said


def out_of_memory(number: int, slide: SlideFolder) -> None:
    """Of the device, which torch says by this error: batches are halved."""
    assert slide.ended(batch=number, act="no_memory") == DONE


def second_writer(slide: SlideFolder) -> None:
    """Of the same result, while the first one is at work."""
    first = slide.start(batch=3, act="wait")
    slide.wait_for("waits", first)
    assert slide.ended() == REFUSED
    assert "Another process" in slide.said
    (slide.talk / "go").touch()
    first.join()
    assert first.exitcode == DONE


def nobody_may_write(slide: SlideFolder) -> None:
    with read_only(slide.folder):
        assert slide.ended() == REFUSED
    assert "cannot be written" in slide.said


def killed_worker(slide: SlideFolder) -> None:
    """One of two, with some tiles done and some not (where this process is not too late); the other one does them."""
    process = slide.start(workers=2)
    ledger = slide.folder / ".s.zarr+he_programs.partial" / "ledger-worker-0.jsonl"
    while process.is_alive() and lines(ledger) < 4:
        time.sleep(0.001)
    with suppress(ProcessLookupError):
        os.kill(int((slide.talk / "workers").read_text().split()[0]), signal.SIGKILL)
    process.join()
    assert process.exitcode == DONE


def lines(path: Path) -> int:
    try:
        return len(path.read_text().splitlines())
    except FileNotFoundError:
        return 0


def moment_s(slide: SlideFolder, number: int) -> float:
    return random.Random(f"{SEED} {slide.call} {number}").uniform(0, slide.whole_s)


@contextmanager
def damaged(path: Path, damage: Callable[[bytes], bytes]) -> Iterator[None]:
    """The file, changed; then as it was."""
    before = path.read_bytes()
    path.write_bytes(damage(before))
    yield
    path.write_bytes(before)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def garbled(content: bytes) -> bytes:
    return bytes(255 - byte for byte in content)


EVERY = tuple(CALLS)
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    **{f"killed {number}": (partial(killed, number), EVERY) for number in range(MOMENTS)},
    **{f"interrupted {number}": (partial(interrupted, number), EVERY) for number in range(MOMENTS)},
    **{f"interrupted in batch {number}": (partial(interrupted_in_batch, number), ("predict",)) for number in (1, 4, 8)},
    "interrupted in batch 5": (partial(interrupted_in_batch, 5), ("predict_shapes",)),
    "killed while publishing": (killed_while_publishing, ("predict",)),
    "killed worker": (killed_worker, ("predict",)),
    "second writer": (second_writer, ("predict",)),
    **{f"disk full at {size} bytes": (partial(disk_full, size), ("predict",)) for size in (100, 8_000, 30_000)},
    "disk full at 2000 bytes": (partial(disk_full, 2_000), EVERY),
    "pixels cut": (partial(damaged_pixels, cut), EVERY),
    "pixels garbled": (partial(damaged_pixels, garbled), ("predict",)),
    "model cut": (partial(damaged_model, cut), ("predict", "predict_shapes")),
    "model garbled": (partial(damaged_model, garbled), ("predict",)),
    "out of memory in batch 1": (partial(out_of_memory, 1), ("predict",)),
    "out of memory in batch 5": (partial(out_of_memory, 5), ("predict", "predict_shapes")),
    "read-only": (nobody_may_write, ("predict", "predict_shapes", "aggregate", "tissue")),
}
"""Each with the calls that it happens to."""
CASES = [(call, name) for name, (_, calls) in FAULTS.items() for call in calls]
