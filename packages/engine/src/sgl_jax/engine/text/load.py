"""The tokenizer of a configuration, wherever its files are."""

from __future__ import annotations

from pathlib import Path

from sgl_jax.engine.config import model_files
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_source import local_tokenizer
from sgl_jax.engine.plan import ProgressCallback
from sgl_jax.engine.text.placeholder_tokenizer import placeholder_parts
from sgl_jax.engine.text.tokenizer import Tokenizer


def load_tokenizer(config: EngineConfig, on_progress: ProgressCallback = lambda done, total: None) -> Tokenizer:
    """Reads the tokenizer, from the hub if need be. With dummy weights, a model without one gets a placeholder.

    Args:
        config: `tokenizer_path`, or else `model_path`, says where it is.
        on_progress: hears of megabytes, see `hub.fetch`.

    Raises:
        ModelLoadError: there is none, it is damaged or cannot be fetched; or the whole folder is no model, and then
            the message lists everything that it lacks.
    """
    path = local_tokenizer(config, on_progress)
    if config.tokenizer_path is None and not _has_tokenizer(path):
        # Of a folder that is no model at all, the tokenizer is not what its owner should hear of first.
        files = model_files.resolve(str(path), config.load_format)
        if files.kind == "dummy":
            return Tokenizer(placeholder_parts(files.spec().vocab_size))
    return Tokenizer.from_path(path)


def _has_tokenizer(path: Path) -> bool:
    return (path / "tokenizer.json").is_file() or path.suffix == ".gguf"
