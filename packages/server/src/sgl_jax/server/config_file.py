"""The `--config` file: YAML with the flags' names as keys."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import yaml

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.flag import Kind, Value

_EXPECTED: dict[Kind, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list of whole numbers",
}


def read_config_file(path: Path, names: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Value]:
    """Reads a YAML mapping of flags. A key without a value (null) counts as not given.

    Args:
        path: the file.
        names: every spelling (`context-length`) to its canonical flag name (`max-seq-len`).
        kinds: type of each canonical name; names without a kind are passed on as they are.

    Returns:
        Values by canonical flag name.

    Raises:
        ConfigError: when the file cannot be read, is no YAML mapping, or has an unknown, doubled or
            ill-typed key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the config file {path}: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold 'key: value' lines such as 'port: 30000'.")
    values: dict[str, Value] = {}
    for key, value in content.items():
        name = names.get(str(key).replace("_", "-"))
        if name is None:
            raise _unknown_key(path, str(key), names)
        if name in values:
            raise ConfigError(f"{path}: '{key}' repeats '{name.replace('-', '_')}' under another name; keep one.")
        if value is not None:
            values[name] = _typed(path, str(key), value, kinds.get(name))
    return values


def _typed(path: Path, key: str, value: object, kind: Kind | None) -> Value:
    if kind is float and type(value) is int:
        return float(value)
    # `type() is`, not isinstance: YAML's true is no number.
    if kind is list and isinstance(value, list) and not all(type(entry) is int for entry in value):
        raise ConfigError(f"{path}: '{key}' must be {_EXPECTED[kind]}, got {value!r}.")
    if kind is None or type(value) is kind:
        return value  # type: ignore[return-value]
    hint = f" Put it in quotes: {key}: '{value}'." if kind is str and not isinstance(value, dict | list) else ""
    raise ConfigError(f"{path}: '{key}' must be {_EXPECTED[kind]}, got {value!r}.{hint}")


def _unknown_key(path: Path, key: str, names: Mapping[str, str]) -> ConfigError:
    near = difflib.get_close_matches(key.replace("_", "-").lower(), names, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0].replace('-', '_')}'?" if near else "See --help for the list."
    return ConfigError(f"{path}: unknown key '{key}'. {hint}")
