"""Where the model of a configuration lies on this machine, fetched from the hub first where it must be."""

from __future__ import annotations

from pathlib import Path

from sgl_jax.engine.config import hub
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.hub_id import parse_hub_id
from sgl_jax.engine.plan import ProgressCallback


def local_model(config: EngineConfig, on_progress: ProgressCallback = lambda done, total: None) -> Path:
    """The model's folder or GGUF file. Blocks while it is downloaded.

    A path that does not exist comes back as it is: `model_files.resolve` says what is wrong with it.

    Args:
        config: `model_path`, `load_format`, `revision` and `download_dir` count.
        on_progress: hears of megabytes, see `hub.fetch`.

    Raises:
        ModelLoadError: the hub has no such model, or it cannot be fetched.
    """
    return _local(config, config.model_path, config.load_format, config.revision, on_progress, texts_only=False)


def local_tokenizer(config: EngineConfig, on_progress: ProgressCallback = lambda done, total: None) -> Path:
    """The folder or GGUF file that the tokenizer is read from; of a hub model's folder, only the small files come.

    Raises:
        ModelLoadError: as `local_model`.
    """
    if config.tokenizer_path is not None:
        return _local(config, config.tokenizer_path, "auto", None, on_progress, texts_only=True)
    return _local(config, config.model_path, config.load_format, config.revision, on_progress, texts_only=True)


def _local(
    config: EngineConfig,
    path: str,
    load_format: str,
    revision: str | None,
    on_progress: ProgressCallback,
    *,
    texts_only: bool,
) -> Path:
    model = parse_hub_id(path)
    if model is None:
        return Path(path).expanduser()
    return hub.fetch(
        model,
        load_format=load_format,
        revision=revision,
        download_dir=config.download_dir,
        texts_only=texts_only,
        on_progress=on_progress,
    )
