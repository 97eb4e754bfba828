"""Finds out what lies at a model path, and says all that is missing before anything is loaded."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from sgl_jax.engine.config.engine_config import LOAD_FORMATS
from sgl_jax.engine.config.gguf_spec import gguf_to_hf_config
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.config.safetensors_header import read_safetensors_header
from sgl_jax.engine.errors import ConfigError, ModelLoadError

logger = logging.getLogger(__name__)

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
SINGLE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"

_GGUF_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A model on disk, checked for completeness.

    Attributes:
        kind: form of the weights; `dummy` has none.
        root: the folder (for a GGUF file, the folder it lies in).
        weight_files: the shards in order of their names, or the one GGUF file, or nothing.
        config: in the form of `config.json`, whatever the kind.
        generation_config: parsed `generation_config.json`, where there is one.
    """

    kind: Literal["safetensors", "gguf", "dummy"]
    root: Path
    weight_files: tuple[Path, ...]
    config: dict[str, Any]
    generation_config: dict[str, Any] | None = None

    def spec(self) -> ModelSpec:
        """The model's shape.

        Raises:
            ModelLoadError: the config lacks a field, or has one of the wrong type.
        """
        return ModelSpec.from_hf_config(self.config, self.generation_config)


def resolve(model_path: str, load_format: str = "auto") -> ModelFiles:
    """Looks at a path: a Hugging Face folder, a folder with one `.gguf` file, or such a file.

    Args:
        model_path: as given by the user; `~` is expanded.
        load_format: `auto`, `safetensors`, `gguf` or `dummy`; `auto` prefers safetensors where a folder has both, and
            `dummy` wants a config only.

    Raises:
        ModelLoadError: nothing is there, or the model is incomplete or damaged; the message lists how.
        ConfigError: unknown load format.
    """
    if load_format not in LOAD_FORMATS:
        raise ConfigError(f"--load-format must be one of {', '.join(LOAD_FORMATS)}, got {load_format!r}.")
    path = Path(model_path).expanduser()
    if not path.exists():
        raise ModelLoadError(
            f"The model path {model_path!r} does not exist. Give a Hugging Face model folder, a .gguf file, "
            "or a hub id such as Qwen/Qwen3-0.6B."
        )
    if path.is_file():
        return _file(path, load_format)
    return _folder(path, load_format)


def _file(path: Path, load_format: str) -> ModelFiles:
    if path.suffix.lower() != ".gguf":
        hint = "give the folder that holds it" if path.suffix in {".safetensors", ".json"} else "a file must be a .gguf"
        raise ModelLoadError(f"{path} cannot be loaded by itself: {hint}.")
    if load_format == "safetensors":
        raise ModelLoadError(f"{path} is a GGUF file, but the load format is safetensors; use --load-format auto.")
    return _gguf(path, load_format)


def _folder(folder: Path, load_format: str) -> ModelFiles:
    if load_format == "dummy":
        return _weightless(folder)
    ggufs = sorted(folder.glob("*.gguf"))
    has_safetensors = (folder / INDEX).exists() or any(folder.glob("*.safetensors"))
    if load_format == "safetensors" or (load_format == "auto" and (has_safetensors or not ggufs)):
        return _safetensors(folder)
    if len(ggufs) == 1:
        return _gguf(ggufs[0], load_format)
    if not ggufs:
        raise ModelLoadError(f"{folder} holds no .gguf file; {_contents(folder)}.")
    names = ", ".join(file.name for file in ggufs)
    raise ModelLoadError(f"{folder} holds {len(ggufs)} .gguf files ({names}); give the path of one of them.")


def _gguf(path: Path, load_format: str) -> ModelFiles:
    if _GGUF_SPLIT.search(path.name):
        raise ModelLoadError(f"{path} is one part of a split model; join the parts with llama-gguf-split --merge.")
    config = gguf_to_hf_config(path)
    if load_format == "dummy":
        return ModelFiles(kind="dummy", root=path.parent, weight_files=(), config=config)
    return ModelFiles(kind="gguf", root=path.parent, weight_files=(path,), config=config)


def _weightless(folder: Path) -> ModelFiles:
    problems: list[str] = []
    config = _json(folder / CONFIG, problems, required=True)
    generation_config = _json(folder / GENERATION_CONFIG, problems, required=False)
    _refuse(folder, problems)
    assert config is not None  # or there would be a problem
    return ModelFiles(kind="dummy", root=folder, weight_files=(), config=config, generation_config=generation_config)


def _safetensors(folder: Path) -> ModelFiles:
    problems: list[str] = []
    config = _json(folder / CONFIG, problems, required=True)
    generation_config = _json(folder / GENERATION_CONFIG, problems, required=False)
    shards = _shards(folder, problems)
    names: set[str] = set()
    for shard in shards:
        try:
            names.update(read_safetensors_header(shard))
        except ModelLoadError as error:
            problems.append(str(error))
    _refuse(folder, problems)
    assert config is not None  # or there would be a problem
    # Models that are only embedded with are often saved without the outer module, and their tensors' prefix.
    has_embedding = EMBEDDING in names or EMBEDDING.removeprefix("model.") in names
    if has_embedding and HEAD not in names and config.get("tie_word_embeddings") is not True:
        # Exporters leave out a head that is the embedding, and configs leave out that it is.
        logger.info("%s holds no %s: the embedding is the output head, too", folder, HEAD)
        config = {**config, "tie_word_embeddings": True}
    return ModelFiles(
        kind="safetensors",
        root=folder,
        weight_files=tuple(shards),
        config=config,
        generation_config=generation_config,
    )


def _refuse(folder: Path, problems: Sequence[str]) -> None:
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise ModelLoadError(f"The model in {folder} cannot be loaded; {_contents(folder)}. What is wrong:{listed}")


def _shards(folder: Path, problems: list[str]) -> Sequence[Path]:
    """The weight files that are there; those that are not become problems."""
    if not (folder / INDEX).exists():
        if (folder / SINGLE_FILE).exists():
            return [folder / SINGLE_FILE]
        found = sorted(file.name for file in folder.glob("*.safetensors"))
        if found:
            problems.append(f"{INDEX} is missing, which says how {', '.join(found)} belong together")
        elif any(folder.glob("*.bin")):
            problems.append(f"{SINGLE_FILE} is missing; convert the .bin weights to safetensors (they are pickles)")
        else:
            problems.append(f"{SINGLE_FILE} (or {INDEX} with its shards) is missing")
        return []
    index = _json(folder / INDEX, problems, required=True)
    if index is None:
        return []
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(map(_is_file_name, weight_map.values())):
        problems.append(f"{INDEX} has no usable 'weight_map' (tensor name -> file in this folder)")
        return []
    files = [folder / name for name in sorted(set(weight_map.values()))]
    problems.extend(f"{file.name} is missing ({INDEX} lists it)" for file in files if not file.exists())
    return [file for file in files if file.exists()]


def _is_file_name(name: object) -> bool:
    # An index may not reach outside of its folder.
    return isinstance(name, str) and name not in {"", ".", ".."} and "/" not in name and "\\" not in name


def _json(path: Path, problems: list[str], *, required: bool) -> dict[str, Any] | None:
    if not path.exists():
        if required:
            problems.append(f"{path.name} is missing")
        return None
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} is not valid JSON ({error})")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name} is not a JSON object")
        return None
    return value


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "the folder is empty"
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"the folder holds {shown}"
