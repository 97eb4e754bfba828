"""Reads which tensors a GGUF file holds, and where, without looking at the vocabulary or the weights.

After the header (see `gguf_metadata`) comes one record a tensor, and then the data, aligned:

    tensor := name:string  rank:u32  dim:u64{rank}  type:u32  offset:u64

To get there one has to step over every key/value pair, for nothing says how long they are. This is
much quicker than reading them, and `gguf.GGUFReader` takes seconds.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

from sgl_jax.engine.errors import ModelLoadError

DEFAULT_ALIGNMENT = 32
MAX_RANK = 8
MAX_TENSORS = 1_000_000

_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""GGUF value type -> size."""
_UINT32 = 4
_STRING = 8
_ARRAY = 9


class GgufTensor(NamedTuple):
    """One tensor: shape with the outermost axis first, GGML type number, first byte in the file."""

    shape: tuple[int, ...]
    ggml_type: int
    offset: int


def read_gguf_directory(path: Path) -> dict[str, GgufTensor]:
    """Tensor name (as in the file) -> entry.

    Raises:
        ModelLoadError: the file is missing, cut off or damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _Cursor(mapped).tensors()
    except (struct.error, OverflowError, UnicodeDecodeError, _DamagedError) as error:
        reason = error if isinstance(error, _DamagedError) else "it ends inside the list of tensors"
        raise ModelLoadError(f"{path} is incomplete or damaged: {reason}. Download the file again.") from None
    except (OSError, ValueError) as error:  # ValueError: mmap refuses an empty file
        raise ModelLoadError(f"Cannot read the GGUF file {path}: {error}.") from error


class _DamagedError(Exception):
    """What is wrong, as part of a sentence."""


class _Cursor:
    """Walks over the mapped file; `struct.error` means that it ended early, OverflowError that a length is absurd."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0
        self._alignment = DEFAULT_ALIGNMENT

    def tensors(self) -> dict[str, GgufTensor]:
        magic, _version, tensor_count, pair_count = self._take("4sIQQ")
        if magic != b"GGUF":
            raise _DamagedError("it does not begin with the letters GGUF")
        if tensor_count > MAX_TENSORS:
            raise _DamagedError(f"it claims {tensor_count} tensors")
        for _ in range(pair_count):
            self._skip_pair()
        found: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(tensor_count):
            name = self._string().decode()
            (rank,) = self._take("I")
            if rank > MAX_RANK:
                raise _DamagedError(f"{name!r} claims {rank} dimensions")
            *dims, ggml_type, offset = self._take(f"{rank}QIQ")
            found[name] = (tuple(reversed(dims)), ggml_type, offset)
        start = -(-self._at // self._alignment) * self._alignment
        entries = {name: GgufTensor(shape, kind, start + offset) for name, (shape, kind, offset) in found.items()}
        for name, entry in entries.items():
            if entry.offset >= len(self._data):
                raise _DamagedError(f"it has {len(self._data)} bytes and {name!r} begins at byte {entry.offset}")
        return entries

    def _skip_pair(self) -> None:
        key = self._string()
        (kind,) = self._take("I")
        if key == b"general.alignment" and kind == _UINT32:
            (self._alignment,) = self._take("I")
            if self._alignment == 0 or self._alignment & (self._alignment - 1):
                raise _DamagedError(f"its alignment is {self._alignment}")
            return
        self._skip_value(kind)

    def _skip_value(self, kind: int) -> None:
        if kind in _SCALAR_BYTES:
            self._at += _SCALAR_BYTES[kind]
        elif kind == _STRING:
            self._skip_strings(1)
        elif kind == _ARRAY:
            element, count = self._take("IQ")
            if element in _SCALAR_BYTES:
                self._at += count * _SCALAR_BYTES[element]
            elif element == _STRING:
                self._skip_strings(count)
            else:
                raise _DamagedError(f"it holds an array of value type {element}")
        else:
            raise _DamagedError(f"it holds the unknown value type {kind}")

    def _skip_strings(self, count: int) -> None:
        # The hot loop: a vocabulary and its merges.
        data, at = self._data, self._at
        length_of = struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + length_of(data, at)[0]
        self._at = at

    def _string(self) -> bytes:
        (length,) = self._take("Q")
        text = self._data[self._at : self._at + length]
        self._at += length
        return text

    def _take(self, layout: str) -> tuple[Any, ...]:
        record = struct.Struct("<" + layout)
        values = record.unpack_from(self._data, self._at)
        self._at += record.size
        return values
