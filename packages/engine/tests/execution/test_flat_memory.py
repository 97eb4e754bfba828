"""What a step needs besides its arguments grows neither with the pool nor with the longest sequence allowed."""

from __future__ import annotations

from sgl_jax.engine.config import model_files
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.execution.buckets import Bucket
from sgl_jax.engine.execution.build import build_executor


def temporary_bytes(folder, **options):
    """Of a step that decodes and reads prompts, with keys and values as int8."""
    config = EngineConfig(model_path=str(folder), device="cpu", dtype="float32", kv_cache_dtype="int8", **options)
    files = model_files.resolve(str(folder), "auto")
    executor, _ = build_executor(config, files, files.spec(), lambda done, total: None)
    return executor._compile_step(Bucket(32, 4, False)).memory_analysis().temp_size_in_bytes


def test_flat(tiny_folder):
    small = temporary_bytes(tiny_folder, max_total_tokens=256, max_seq_len=512)
    assert temporary_bytes(tiny_folder, max_total_tokens=65_536, max_seq_len=1 << 20) == small
