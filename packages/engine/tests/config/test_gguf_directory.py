"""The GGUF directory reader agrees with the gguf package, and survives any damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.config.gguf_directory import read_gguf_directory
from sgl_jax.engine.errors import ModelLoadError

Q8_0 = GGMLQuantizationType.Q8_0


def write_sample(path: Path, alignment: int | None = None) -> Path:
    writer = GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_float64("number", 0.5)
    writer.add_bool("flag", True)
    writer.add_string("text", "grüße 🙂")
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "Ġthe", "🙂"])
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 3, 1])
    writer.add_tensor("token_embd.weight", np.arange(128, dtype=np.float32).reshape(4, 32))
    writer.add_tensor("blk.0.attn_q.weight", quantize(np.ones((2, 64), np.float32), Q8_0), raw_dtype=Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(5, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("gguf") / "sample.gguf")


@pytest.mark.parametrize("alignment", [None, 32, 64, 256])
def test_agrees_with_the_gguf_package(tmp_path: Path, alignment: int | None) -> None:
    path = write_sample(tmp_path / "sample.gguf", alignment)
    expected = {
        tensor.name: (tuple(reversed(tensor.shape.tolist())), tensor.tensor_type.value, tensor.data_offset)
        for tensor in GGUFReader(path).tensors
    }
    assert read_gguf_directory(path) == expected


def test_every_truncation_of_the_header_is_noticed(sample: Path, tmp_path: Path) -> None:
    whole = sample.read_bytes()
    last = max(entry.offset for entry in read_gguf_directory(sample).values())
    cut = tmp_path / "cut.gguf"
    for length in range(last + 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelLoadError, match=r"cut\.gguf"):
            read_gguf_directory(cut)


@pytest.mark.parametrize("length", [2**62, 2**63, 2**64 - 1])
def test_an_absurd_string_length(sample: Path, tmp_path: Path, length: int) -> None:
    whole = bytearray(sample.read_bytes())
    at = whole.index("Ġthe".encode()) - 8
    whole[at : at + 8] = length.to_bytes(8, "little")
    path = tmp_path / "absurd.gguf"
    path.write_bytes(whole)
    with pytest.raises(ModelLoadError, match=r"absurd\.gguf is incomplete or damaged"):
        read_gguf_directory(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.gguf"
    path.write_bytes(b"\x89PNG" + bytes(100))
    with pytest.raises(ModelLoadError, match="letters GGUF"):
        read_gguf_directory(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"absent\.gguf"):
        read_gguf_directory(tmp_path / "absent.gguf")


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_changed_byte_never_crashes(sample: Path, tmp_path: Path, position: int, value: int) -> None:
    whole = bytearray(sample.read_bytes())
    whole[position % len(whole)] = value
    path = tmp_path / "changed.gguf"
    path.write_bytes(whole)
    try:
        found = read_gguf_directory(path)
    except ModelLoadError:
        return
    assert all(entry.offset < len(whole) for entry in found.values())
