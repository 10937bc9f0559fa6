"""Windows of an image that an encoder has seen already, recognized by their pixels. Torch only.

Tiles read the windows around them for what crosses their borders. Each window depends on nothing else, so what one
tile has encoded serves the next, and glass is encoded once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Bytes of maps that are kept: four rows of windows over a slide of 20,000 px for 768 channels.
MEMO_LIMIT = 2**31
# Windows that are encoded at once.
AT_ONCE = 32


class WindowMemo:
    """Maps of the windows that were used last."""

    def __init__(self, limit: int = MEMO_LIMIT) -> None:
        self.limit, self.size = limit, 0
        self.maps: OrderedDict[bytes, list[Tensor]] = OrderedDict()

    def encode(self, encoder: Callable[[Tensor], Sequence[Tensor]], windows: Tensor) -> list[Tensor]:
        """Encode (N, 3, side, side), those that are new; return (N, c, h, w) for each map."""
        keys = window_keys(windows)
        known = {key: self.maps[key] for key in keys if key in self.maps}
        new = list({key: number for number, key in enumerate(keys) if key not in known}.values())
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            maps = encoder(windows[part])
            known |= {keys[n]: [one[row] for one in maps] for row, n in enumerate(part)}
        self.keep({key: known[key] for key in keys})
        return [torch.stack(maps) for maps in zip(*(known[key] for key in keys), strict=True)]

    def keep(self, used: dict[bytes, list[Tensor]]) -> None:
        """Remember windows; those that were not used for longest are forgotten."""
        for key, maps in used.items():
            if key not in self.maps:
                # A copy: a view would keep all windows that were encoded with it.
                self.maps[key] = [one.clone() for one in maps]
                self.size += count_bytes(maps)
            self.maps.move_to_end(key)
        while self.size > self.limit:
            self.size -= count_bytes(self.maps.popitem(last=False)[1])


def count_bytes(maps: Sequence[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in maps)


def window_keys(windows: Tensor) -> list[bytes]:
    """Compute a checksum of each window's pixels."""
    pixels = windows.detach().cpu().contiguous().numpy()
    return [hashlib.blake2b(window.tobytes(), digest_size=16).digest() for window in pixels]
