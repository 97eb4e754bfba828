"""Workloads as people write them on a command line: `synthetic,input=512,output=uniform:64:256`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgl_jax.bench.durations import parse_duration
from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import Workload
from sgl_jax.bench.workload.builtin import NumberedQuestion, builtin_questions
from sgl_jax.bench.workload.lengths import Lengths
from sgl_jax.bench.workload.mixed import Mixed
from sgl_jax.bench.workload.prompt_file import read_prompt_file
from sgl_jax.bench.workload.request_lines import read_jsonl
from sgl_jax.bench.workload.sharegpt import read_sharegpt
from sgl_jax.bench.workload.structured import structured_tasks
from sgl_jax.bench.workload.synthetic import DEFAULT_INPUT, Conversations, SharedPrefix, Synthetic


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a spec leaves open.

    Attributes:
        max_tokens: most tokens of an answer.
        seed: of everything drawn at random; None where the user named none.
    """

    max_tokens: int
    seed: int | None

    @property
    def answer(self) -> Lengths:
        """The lengths of answers."""
        return Lengths("fixed", self.max_tokens)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _turns(text: str) -> int | None:
    return None if text == "all" else _whole(text)


Options = Mapping[str, Any]


def _sharegpt(options: Options, use: Defaults) -> Workload:
    turns, pause = options.get("turns", 1), options.get("pause", 0.0)
    return read_sharegpt(options["file"], use.max_tokens, turns=turns, pause=pause, seed=use.seed)


def _synthetic(options: Options, use: Defaults) -> Workload:
    return Synthetic(options.get("input", DEFAULT_INPUT), options.get("output", use.answer), use.seed or 0)


def _shared_prefix(options: Options, use: Defaults) -> Workload:
    return SharedPrefix(
        options.get("groups", 8),
        options.get("prefix", Lengths("fixed", 512)),
        options.get("input", DEFAULT_INPUT),
        options.get("output", use.answer),
        use.seed or 0,
    )


def _conversations(options: Options, use: Defaults) -> Workload:
    return Conversations(
        options.get("turns", Lengths("fixed", 4)),
        options.get("input", DEFAULT_INPUT),
        options.get("output", use.answer),
        options.get("pause", 0.0),
        use.seed or 0,
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of workload: the options that it takes, those that it needs, and how it is made."""

    make: Callable[[Options, Defaults], Workload]
    options: Mapping[str, Callable[[str], Any]]
    needs_file: bool = False


_LENGTHS = {"input": Lengths.parse, "output": Lengths.parse}

_KINDS: dict[str, _Kind] = {
    "questions": _Kind(lambda _, use: builtin_questions(use.max_tokens), {}),
    "numbered": _Kind(lambda _, use: NumberedQuestion(use.max_tokens), {}),
    "prompts": _Kind(lambda o, use: read_prompt_file(o["file"], use.max_tokens), {"file": Path}, True),
    "jsonl": _Kind(lambda o, use: read_jsonl(o["file"], use.max_tokens, use.seed), {"file": Path}, True),
    "sharegpt": _Kind(_sharegpt, {"file": Path, "turns": _turns, "pause": parse_duration}, True),
    "synthetic": _Kind(_synthetic, _LENGTHS),
    "shared-prefix": _Kind(_shared_prefix, {**_LENGTHS, "groups": _whole, "prefix": Lengths.parse}),
    "conversations": _Kind(_conversations, {**_LENGTHS, "turns": Lengths.parse, "pause": parse_duration}),
    "structured": _Kind(lambda o, use: structured_tasks(use.max_tokens, o.get("schema")), {"schema": Path}),
}

KINDS = tuple(_KINDS)
"""The names of all kinds."""


def workload_of(specs: Sequence[str], defaults: Defaults) -> Workload:
    """Return the workload of one spec, or the mix of several.

    Args:
        specs: each `KIND` or `KIND,name=value,...`; `weight=2` makes its part of a mix twice as large.
        defaults: what the specs leave open.

    Raises:
        WorkloadError: a spec is not understood, or its file cannot be used.
    """
    parts = [_part(spec, defaults) for spec in specs]
    return parts[0][1] if len(parts) == 1 else Mixed(parts, defaults.seed or 0)


def _part(spec: str, defaults: Defaults) -> tuple[float, Workload]:
    name, *settings = (piece.strip() for piece in spec.split(","))
    kind = _KINDS.get(name)
    if kind is None:
        raise WorkloadError(f"--workload {spec}: there is no kind {name!r}; there are {', '.join(_KINDS)}")
    readers = {**kind.options, "weight": _weight}
    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in readers:
            raise WorkloadError(
                f"--workload {spec}: {setting!r} should be NAME=VALUE; {name} takes {', '.join(readers)}"
            )
        try:
            options[key] = readers[key](value)
        except ValueError as error:
            raise WorkloadError(f"--workload {spec}: {key}: {error}") from error
    if kind.needs_file and "file" not in options:
        raise WorkloadError(f"--workload {spec}: name the file, as in {name},file=data.json")
    weight = options.pop("weight", 1.0)
    return weight, kind.make(options, defaults)


def _weight(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError(f"must be above 0, not {text}")
    return value
