"""How an embedding model makes one vector of a text's many; sentence-transformers leaves that in the model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from sgl_jax.engine.errors import ModelLoadError

MODULES = "modules.json"
POOLING_FOLDER = "1_Pooling"

Method = Literal["last", "mean", "cls"]

_METHODS: dict[str, Method] = {
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
    "mean": "mean",
    "mean_tokens": "mean",
}
"""Names of sentence-transformers, new and old -> ours."""


class Pooling(msgspec.Struct, frozen=True, kw_only=True):
    """From the last layer's outputs of all tokens (normed, as before the output head) to one vector.

    Attributes:
        method: the last token's, the mean of all, or the first token's.
        normalize: whether the vector is brought to length 1.
    """

    method: Method = "last"
    normalize: bool = True

    @property
    def reuses_prefixes(self) -> bool:
        """Whether the outputs of a text's beginning, which a prefix cache does not keep, are not needed."""
        return self.method == "last"


def read_pooling(folder: Path, config: Mapping[str, Any]) -> Pooling:
    """What a model's folder says; the last token's, normalised, where it says nothing.

    Args:
        folder: where the model lies.
        config: its `config.json`.

    Raises:
        ModelLoadError: the folder asks for what is not done here, or a file is damaged.
    """
    if config.get("use_bidirectional_attention") is True or config.get("is_causal") is False:
        raise ModelLoadError(
            "In this embedding model every token sees those behind it, too (config.json says so); only causal ones "
            "are supported."
        )
    modules = _read(folder / MODULES)
    if modules is None:
        return Pooling(method=_method(folder / POOLING_FOLDER) or "last")
    method: Method | None = None
    normalize = False
    for module in modules if isinstance(modules, list) else []:
        # Full names have moved between versions of sentence-transformers; the last part has not.
        kind = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        if kind == "Pooling":
            method = _method(folder / str(module.get("path") or POOLING_FOLDER))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ModelLoadError(
                f"{MODULES} asks for a module of kind {kind!r}, which is not there; known are Transformer, Pooling and "
                "Normalize."
            )
    return Pooling(method=method or "last", normalize=normalize)


def _method(folder: Path) -> Method | None:
    """The method that a pooling module's config names; None where there is none."""
    path = folder / "config.json"
    config = _read(path)
    if not isinstance(config, dict):
        return None
    flags = [name.removeprefix("pooling_mode_") for name, on in config.items() if _is_mode(name) and on is True]
    named = config.get("pooling_mode")
    chosen = flags if named is None else named if isinstance(named, list) else [named]
    methods = [_METHODS.get(str(name)) for name in chosen]
    if len(methods) != 1 or methods[0] is None:
        raise ModelLoadError(f"{path} asks for {chosen}; supported is one of {', '.join(get_args(Method))}.")
    if config.get("include_prompt") is False:
        raise ModelLoadError(f"{path} leaves instructions out of the mean (include_prompt), which is not supported.")
    return methods[0]


def _is_mode(name: str) -> bool:
    return name.startswith("pooling_mode_")


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{path} is not valid JSON ({error}). Download it again.") from error
