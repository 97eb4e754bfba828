"""Reads the header of a safetensors file: which tensors lie where. Nothing is read beyond it.

The format (https://github.com/huggingface/safetensors#format): a little-endian u64, the length of
the JSON that follows; then the tensors' bytes, which `data_offsets` counts from the end of the JSON.
A file comes from strangers or from half a download, so that every entry is checked against the
file's size before anyone maps it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from sgl_jax.engine.errors import ModelLoadError

MAX_HEADER_BYTES = 100_000_000
"""The bound of the reference implementation."""

DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
}

_LFS_POINTER = b"version https://git-lfs"


class TensorEntry(NamedTuple):
    """One tensor: the format's own dtype name, and its first byte in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


def read_safetensors_header(path: Path) -> dict[str, TensorEntry]:
    """Tensor name -> entry, in file order.

    Raises:
        ModelLoadError: the file is missing, shorter than its header says, or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            rest = file.read(min(length, MAX_HEADER_BYTES))
    except OSError as error:
        raise ModelLoadError(f"Cannot read {path}: {error}.") from error
    if (prefix + rest).startswith(_LFS_POINTER):
        raise _damaged(path, "it is a git-lfs pointer, not the weights. Run `git lfs pull` in that folder")
    if len(prefix) < 8 or length > size - 8:
        raise _damaged(path, f"its header is cut off ({size} bytes in all)")
    if length > MAX_HEADER_BYTES:
        raise _damaged(path, f"its header claims {length} bytes")
    try:
        header = json.loads(rest)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    start = 8 + length
    return {name: _entry(path, name, fields, start, size) for name, fields in header.items() if name != "__metadata__"}


def _entry(path: Path, name: str, fields: Any, start: int, size: int) -> TensorEntry:
    try:
        dtype, shape = fields["dtype"], tuple(fields["shape"])
        begin, end = fields["data_offsets"]
        sound = all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise _damaged(path, f"the entry of {name!r} is malformed")
    if dtype not in DTYPE_BITS:
        raise ModelLoadError(f"{path}: {name!r} has the dtype {dtype!r}; supported: {', '.join(DTYPE_BITS)}.")
    if (end - begin) * 8 != math.prod(shape) * DTYPE_BITS[dtype]:
        raise _damaged(path, f"{name!r} takes {end - begin} bytes, which does not fit {dtype}{list(shape)}")
    if start + end > size:
        raise _damaged(path, f"it has {size} bytes and {name!r} would end at byte {start + end}")
    return TensorEntry(dtype, shape, start + begin)


def _damaged(path: Path, reason: str) -> ModelLoadError:
    return ModelLoadError(f"{path} is incomplete or damaged: {reason}. Download the file again.")
