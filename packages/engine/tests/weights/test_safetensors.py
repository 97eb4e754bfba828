from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.safetensors import SafetensorsSource

DTYPES: list[Any] = [
    np.bool_,
    np.uint8,
    np.int8,
    np.uint16,
    np.int16,
    np.float16,
    ml_dtypes.bfloat16,
    np.uint32,
    np.int32,
    np.float32,
    np.uint64,
    np.int64,
    np.float64,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_as_stored(tmp_path: Path, dtype: Any) -> None:
    # An odd neighbour of one byte leaves the tensor at an odd address.
    tensor = np.arange(6).reshape(2, 3).astype(dtype)
    save_file({"a": np.zeros(1, np.int8), "w": tensor}, tmp_path / "m.safetensors")
    source = SafetensorsSource([tmp_path / "m.safetensors"])
    assert source.shape("w") == (2, 3)
    assert source.dtype("w") == tensor.dtype
    read = source.read("w")
    assert read.dtype == tensor.dtype
    np.testing.assert_array_equal(read.astype(np.float64), tensor.astype(np.float64))


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    save_file({"a": np.full(2, 1, np.float32)}, tmp_path / "1.safetensors")
    save_file({"b": np.full(3, 2, np.float32)}, tmp_path / "2.safetensors")
    source = SafetensorsSource([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])
    assert source.names() == {"a", "b"}
    assert source.read("b").tolist() == [2, 2, 2]


def test_the_same_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    for shard in "12":
        save_file({"a": np.zeros(2, np.float32)}, tmp_path / f"{shard}.safetensors")
    with pytest.raises(ModelLoadError, match=r"another shard holds too: a\."):
        SafetensorsSource([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    save_file({"s": np.array(7, np.int32), "e": np.zeros((0, 3), np.float32)}, tmp_path / "m.safetensors")
    source = SafetensorsSource([tmp_path / "m.safetensors"])
    assert source.read("s") == 7
    assert source.read("e").shape == (0, 3)


def test_a_tensor_cannot_be_written(tmp_path: Path) -> None:
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "m.safetensors")
    tensor = SafetensorsSource([tmp_path / "m.safetensors"]).read("w")
    with pytest.raises(ValueError, match="read-only"):
        tensor[0] = 1


def resident_bytes(array: np.ndarray[Any, Any]) -> int:
    """How much of the mapping around an array is in memory now, as the kernel counts it."""
    address, found = array.ctypes.data, False
    with open("/proc/self/smaps", encoding="utf-8") as maps:
        for line in maps:
            if "-" in (bounds := line.split(" ", 1)[0]) and ":" not in bounds:
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                found = start <= address < end
            elif found and line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no such mapping")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_no_more_than_one_tensor_stays_in_memory(tmp_path: Path) -> None:
    size = 8 << 20
    save_file({name: np.ones(size // 4, np.float32) for name in "abcd"}, tmp_path / "m.safetensors")
    source = SafetensorsSource([tmp_path / "m.safetensors"])
    tensors = []
    for name in "abcd":
        tensors.append(source.read(name))
        assert tensors[-1].sum() == size // 4
        assert resident_bytes(tensors[-1]) < 1.5 * size
    assert all(tensor.sum() == size // 4 for tensor in tensors)  # what was let go of comes back
