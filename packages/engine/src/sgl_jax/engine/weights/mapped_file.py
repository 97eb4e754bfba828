"""A weight file mapped into memory, of which no more than one part stays resident."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt


class MappedFile:
    """Read-only views of a file's bytes. Mapping it costs nothing; looking at a view brings its pages in.

    Each `view` lets go of the pages of the one before, or a loaded model would lie in memory twice: as parameters and
    as mapped file. Older views stay valid all the same: their pages come back when they are looked at.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._resident = (0, 0)

    def __len__(self) -> int:
        return len(self._bytes)

    def view(self, offset: int, num_bytes: int) -> npt.NDArray[np.uint8]:
        """uint8[num_bytes], a view that cannot be written."""
        start, length = self._resident
        if length and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, length)
        start = offset - offset % mmap.PAGESIZE
        self._resident = (start, offset + num_bytes - start)
        return self._bytes[offset : offset + num_bytes]
