"""Reads the key/value header of a GGUF file into plain Python values.

Why not `gguf.GGUFReader`: it makes several numpy views of every array element, which takes four
seconds for a vocabulary of 49 thousand tokens, and imports numpy. The web process needs these
fields before it can answer its first request; this parser takes some hundredths of a second and
never looks at the tensors. (`weights/gguf.py` reads those, with the package's tables of types.)

The format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), all little-endian:

    header := "GGUF"  version:u32  tensor_count:u64  pair_count:u64  pair*
    pair   := key:string  type:u32  value
    string := length:u64  UTF-8 bytes
    array  := element_type:u32  length:u64  value*

A model file comes from strangers: every length is checked against what the file can hold, and
against bounds far above any real model's, before anything is allocated.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from sgl_jax.engine.errors import ModelLoadError

MAGIC = b"GGUF"
SUPPORTED_VERSIONS = (2, 3)
MAX_HEADER_BYTES = 128 * 2**20
"""The largest vocabularies in use (256 thousand tokens, with merges) need about 15 MiB."""
MAX_VALUES = 4 * 2**20
"""Values in the whole header, array elements included."""
MAX_ARRAY_DEPTH = 4

_SCALARS = {
    0: "B",  # uint8
    1: "b",  # int8
    2: "H",  # uint16
    3: "h",  # int16
    4: "I",  # uint32
    5: "i",  # int32
    6: "f",  # float32
    7: "?",  # bool
    10: "Q",  # uint64
    11: "q",  # int64
    12: "d",  # float64
}
"""GGUF value type -> `struct` letter."""
_STRING = 8
_ARRAY = 9


def read_metadata(path: Path) -> dict[str, Any]:
    """All key/value fields of a GGUF file, in file order.

    Args:
        path: a `.gguf` file, version 2 or 3, little-endian.

    Returns:
        Values as `int`, `float`, `bool`, `str`, or (nested) lists of these.

    Raises:
        ModelLoadError: the file is missing, not a GGUF file, of another version, or damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _Header(mapped).fields()
    except _DamagedError as error:
        raise ModelLoadError(f"{path} is not a usable GGUF file: {error} Download or convert it again.") from None
    except (OSError, ValueError) as error:  # ValueError: mmap refuses an empty file
        raise ModelLoadError(f"Cannot read the GGUF file {path}: {error}.") from error


class _DamagedError(Exception):
    """What is wrong, as a sentence."""


class _Header:
    """A cursor over the header's bytes; only the pages that it touches are read from disk."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._end = min(len(data), MAX_HEADER_BYTES)
        self._offset = 0
        self._values_left = MAX_VALUES

    def fields(self) -> dict[str, Any]:
        if self._data[:4] != MAGIC:
            raise _DamagedError("it does not begin with the letters GGUF.")
        self._offset = 4
        version = self._scalar("I")
        if version not in SUPPORTED_VERSIONS:
            # A big-endian file shows its version in the upper half of the word.
            kind = "a big-endian file" if version & 0xFFFF == 0 else f"version {version}"
            raise _DamagedError(f"it is {kind}; only little-endian versions 2 and 3 are supported.")
        self._scalar("Q")  # tensor count
        count = self._scalar("Q")
        self._claim(count, 8 + 4 + 1, "key/value pairs")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._string("a key")
            if key in found:
                raise _DamagedError(f"the key {key!r} occurs twice.")
            found[key] = self._value(self._scalar("I"), key, 0)
        return found

    def _value(self, kind: int, key: str, depth: int) -> Any:
        letter = _SCALARS.get(kind)
        if letter is not None:
            return self._scalar(letter)
        if kind == _STRING:
            return self._string(key)
        if kind == _ARRAY:
            return self._array(key, depth)
        raise _DamagedError(f"{key!r} has the unknown value type {kind}.")

    def _array(self, key: str, depth: int) -> list[Any]:
        if depth == MAX_ARRAY_DEPTH:
            raise _DamagedError(f"{key!r} nests arrays more than {MAX_ARRAY_DEPTH} deep.")
        kind, count = self._scalar("I"), self._scalar("Q")
        letter = _SCALARS.get(kind)
        if letter is not None:
            size = struct.calcsize("<" + letter)
            self._claim(count, size, repr(key))
            start = self._offset
            self._offset += count * size
            return list(struct.unpack_from(f"<{count}{letter}", self._data, start))
        if kind == _STRING:
            self._claim(count, 8, repr(key))
            return self._strings(count, key)
        self._claim(count, 12, repr(key))
        return [self._value(kind, key, depth + 1) for _ in range(count)]

    def _strings(self, count: int, key: str) -> list[str]:
        # The hot loop of this file (a vocabulary and its merges): locals, and one decode a string.
        data, offset, end = self._data, self._offset, self._end
        length_of = struct.Struct("<Q").unpack_from
        found: list[str] = []
        try:
            for _ in range(count):
                (length,) = length_of(data, offset)
                start = offset + 8
                offset = start + length
                if offset > end:
                    raise _DamagedError(_truncated(key))
                found.append(data[start:offset].decode())
        except struct.error:
            raise _DamagedError(_truncated(key)) from None
        except UnicodeDecodeError:
            raise _DamagedError(f"{key!r} holds a string that is not UTF-8.") from None
        self._offset = offset
        return found

    def _string(self, key: str) -> str:
        return self._strings(1, key)[0]

    def _scalar(self, letter: str) -> Any:
        layout = "<" + letter
        try:
            (value,) = struct.unpack_from(layout, self._data, self._offset)
        except struct.error:
            raise _DamagedError("it ends inside the header.") from None
        self._offset += struct.calcsize(layout)
        return value

    def _claim(self, count: int, smallest: int, what: str) -> None:
        """Refuses a count that the rest of the file, or the budget, cannot hold."""
        if count * smallest > self._end - self._offset:
            raise _DamagedError(f"{what}: the file is too short for {count} entries.")
        if count > self._values_left:
            raise _DamagedError(f"{what}: more than {MAX_VALUES} values in the header.")
        self._values_left -= count


def _truncated(key: str) -> str:
    return f"it ends inside {key!r}."
