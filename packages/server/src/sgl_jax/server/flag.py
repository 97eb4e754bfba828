"""One flag of the command line, as data."""

from __future__ import annotations

import functools
from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.server.config import ServerConfig

Value = str | int | float | bool | list[int]
Kind = type[str] | type[int] | type[float] | type[bool] | type[list[int]]
Target = Literal["server", "engine"]


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag that does something.

    Attributes:
        name: as typed, without the leading dashes (`max-seq-len`).
        target: which of the two configs has the field.
        group: heading in `--help`.
        metavar: how `--help` shows the value; None for booleans.
        aliases: other spellings, mostly SGLang's or vLLM's.
        shorthands: further flags, without a value, that choose one; on the command line only.
        synonyms: other spellings of its values -> ours.
        env: environment variable that is asked when neither command line nor file has it.
    """

    name: str
    target: Target
    group: str
    kind: Kind
    help: str
    metavar: str | None = None
    aliases: tuple[str, ...] = ()
    shorthands: tuple[tuple[str, Value], ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    env: str | None = None

    @property
    def field(self) -> str:
        """The config field, which is also the YAML key."""
        return self.name.replace("-", "_")

    @property
    def default(self) -> Value | None:
        """The field's default; None when it has none or is decided at start-up."""
        return _defaults(ServerConfig if self.target == "server" else EngineConfig).get(self.field)


@functools.cache  # reading the fields of a struct takes milliseconds
def _defaults(config: type[msgspec.Struct]) -> dict[str, Value | None]:
    fields = msgspec.structs.fields(config)
    return {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}


def choice(values: tuple[str, ...]) -> str:
    """How `--help` shows a value that is one of a few."""
    return "{" + ",".join(values) + "}"
