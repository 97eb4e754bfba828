"""Reads the tokenizer of a Hugging Face model folder, without `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts

_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

TOOL_TEMPLATE = "tool_use"
"""Hugging Face's name for the chat template of conversations with tools, where it is another one."""


def load_folder(folder: Path) -> TokenizerParts:
    """Reads `tokenizer.json`, and beside it, where present, the special tokens and the chat template.

    Args:
        folder: a Hugging Face model folder.

    Raises:
        ModelLoadError: there is no `tokenizer.json`, or a file is damaged.
    """
    backend = _load_backend(folder / "tokenizer.json")
    config = _read_json(folder / "tokenizer_config.json")
    _add_missing_tokens(backend, config.get("added_tokens_decoder"))
    named = {**_read_json(folder / "special_tokens_map.json"), **config}
    special = {name: text for name in _NAMED_TOKENS if (text := _token_text(named.get(name))) is not None}
    return TokenizerParts(
        backend=backend,
        bos_token=special.pop("bos_token", None),
        eos_token=special.pop("eos_token", None),
        special_tokens=special,
        chat_template=_find_chat_template(folder, config),
        tool_chat_template=_find_tool_template(folder, config),
    )


def read_chat_template(path: Path) -> str:
    """Reads a chat template file: Jinja source, or JSON with a `chat_template` key.

    Raises:
        ModelLoadError: the file is missing or holds no template.
    """
    if path.suffix == ".json":
        template = _named_template(_read_json(path).get("chat_template"))
        if template is None:
            raise ModelLoadError(f"{path} has no 'chat_template' key with a Jinja template in it.")
        return template
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"Cannot read the chat template {path}: {error}.") from error


def _load_backend(path: Path) -> tokenizers.Tokenizer:
    if not path.is_file():
        raise ModelLoadError(
            f"No tokenizer.json in {path.parent}. Point --tokenizer-path to a folder that has one (a model that "
            "comes only with tokenizer.model or vocab.json can be converted by transformers' save_pretrained)."
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for any damage
        raise ModelLoadError(f"Cannot read {path}: {error}. Download it again, or upgrade `tokenizers`.") from error
    # Files often carry the truncation and padding of some training script; serving wants neither.
    backend.no_truncation()
    backend.no_padding()
    return backend


def _add_missing_tokens(backend: tokenizers.Tokenizer, declared: Any) -> None:
    """Adds tokens that only `tokenizer_config.json` declares, as transformers does."""
    if not isinstance(declared, dict):
        return
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for _, fields in sorted(declared.items(), key=lambda item: int(item[0]) if item[0].isdecimal() else 0):
        text = _token_text(fields)
        if text is None or text in known:
            continue
        flags = {
            name: bool(fields[name]) for name in ("single_word", "lstrip", "rstrip", "normalized") if name in fields
        }
        try:
            token = tokenizers.AddedToken(text, special=bool(fields.get("special")), **flags)
            add = backend.add_special_tokens if token.special else backend.add_tokens
            add([token])
        except Exception as error:  # half a surrogate pair, for example
            raise ModelLoadError(f"tokenizer_config.json declares an unusable token {text!r}: {error}.") from error


def _find_chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    for name in ("chat_template.jinja", "chat_template.json"):
        if (folder / name).is_file():
            return read_chat_template(folder / name)
    return _named_template(config.get("chat_template"))


def _find_tool_template(folder: Path, config: dict[str, Any]) -> str | None:
    path = folder / "additional_chat_templates" / f"{TOOL_TEMPLATE}.jinja"
    if path.is_file():
        return read_chat_template(path)
    several = config.get("chat_template")
    return _named_template(several, TOOL_TEMPLATE) if isinstance(several, list) else None


def _named_template(value: Any, name: str = "default") -> str | None:
    """One template is a string; several are a list of named ones, of which `default` is for chat."""
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get(name)
    return value if isinstance(value, str) else None


def _token_text(value: Any) -> str | None:
    """A token is written as its text, or as an object with its text and flags."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"Cannot read {path}: {error}. Download it again.") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{path} must hold a JSON object, not a {type(value).__name__}.")
    return value
