"""The safetensors header reader agrees with the safetensors package, and survives any damage."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from sgl_jax.engine.config.safetensors_header import read_safetensors_header
from sgl_jax.engine.errors import ModelLoadError


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("safetensors") / "sample.safetensors"
    tensors = {
        "half": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3),
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "flags": np.array([True, False]),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def test_agrees_with_the_safetensors_package(sample: Path) -> None:
    found = read_safetensors_header(sample)
    raw = sample.read_bytes()
    with safe_open(sample, framework="np") as expected:
        assert found.keys() == set(expected.keys())
        for name, tensor in found.items():
            piece = expected.get_slice(name)
            assert list(tensor.shape) == piece.get_shape()
            assert tensor.dtype == piece.get_dtype()
            stored = expected.get_tensor(name).tobytes()
            assert raw[tensor.offset : tensor.offset + len(stored)] == stored


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (entry(data_offsets=[0, 32], shape=[2, 4]), "would end at byte"),
        (entry(data_offsets=[0, 20]), "takes 20 bytes"),
        (entry(shape=[2, -3]), "malformed"),
        (entry(shape="wide"), "malformed"),
        (entry(data_offsets=[0]), "malformed"),
        ({"w": 3}, "malformed"),
        ({"w": {}}, "malformed"),
        (entry(dtype="F4"), "'F4'"),
        ([], "not a JSON object"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, header: object, words: str) -> None:
    path = write(tmp_path / "bad.safetensors", header, bytes(24))
    with pytest.raises(ModelLoadError, match=words):
        read_safetensors_header(path)


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n")
    with pytest.raises(ModelLoadError, match="git lfs pull"):
        read_safetensors_header(path)


def test_every_truncation_is_noticed(sample: Path, tmp_path: Path) -> None:
    whole = sample.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelLoadError, match=r"cut\.safetensors"):
            read_safetensors_header(cut)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_byte_never_crashes(sample: Path, tmp_path: Path, position: int, value: int) -> None:
    whole = bytearray(sample.read_bytes())
    whole[position % len(whole)] = value
    path = tmp_path / "changed.safetensors"
    path.write_bytes(whole)
    try:
        found = read_safetensors_header(path)
    except ModelLoadError:
        return
    assert all(tensor.offset <= len(whole) for tensor in found.values())
