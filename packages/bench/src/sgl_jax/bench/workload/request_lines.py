"""JSON Lines of requests: one object a line, for prompts with lengths of their own and for traces.

{"prompt": "What is AI?", "max_tokens": 64}
{"messages": [{"role": "user", "content": "Hello"}], "extra": {"top_p": 0.9}}
{"timestamp": 12.25, "input_len": 512, "output_len": 128}
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import Message, RequestSpec
from sgl_jax.bench.workload.cycle import Cycle
from sgl_jax.bench.workload.files import read_text
from sgl_jax.bench.workload.lengths import MAX_TOKENS
from sgl_jax.bench.workload.words import made_up_text

_INPUT_NAMES = ("input_len", "input_length", "input_tokens")
_OUTPUT_NAMES = ("max_tokens", "output_len", "output_length", "output_tokens")


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One line.

    Attributes:
        timestamp: when the request came, in seconds on the file's own clock; None where it does not say.
        messages: what is asked.
        max_tokens: most tokens of the answer.
        extra: further fields of the request's body.
    """

    timestamp: float | None
    messages: tuple[Message, ...]
    max_tokens: int
    extra: dict[str, Any]

    def request(self, index: int) -> RequestSpec:
        """Return the request number `index`."""
        return RequestSpec(index, self.messages, self.max_tokens, extra=self.extra)


def read_jsonl(path: Path, max_tokens: int, seed: int | None = None) -> Cycle:
    """Return a workload of the requests of `path`; see `read_request_lines`.

    Args:
        path: the file.
        max_tokens: most tokens of an answer where a line does not say.
        seed: draws the order, and made-up prompts; None keeps the file's order.
    """
    lines = list(read_request_lines(path, max_tokens, seed or 0))
    return Cycle(f"JSONL file {path.name}", [partial(RequestLine.request, line) for line in lines], seed)


def read_request_lines(path: Path, max_tokens: int, seed: int) -> Iterator[RequestLine]:
    """Yield the lines of `path`; blank ones are skipped.

    A line has `prompt` (text), or `messages` (as OpenAI's chat takes them), or `input_len` (made-up text of so many
    tokens); it may have `max_tokens` or `output_len`, `timestamp` (seconds, or ISO 8601), and `extra` (fields for the
    request's body). Other fields are ignored, so that most traces can be read as they are.

    Raises:
        WorkloadError: the file cannot be read, or a line cannot be used; says which.
    """
    rng = random.Random(seed)
    for number, text in enumerate(read_text(path, "JSONL file").split("\n"), start=1):
        if text.strip():
            try:
                yield _read(text, max_tokens, rng)
            except ValueError as error:
                raise WorkloadError(f"{path}, line {number}: {error}") from error


def _read(text: str, max_tokens: int, rng: random.Random) -> RequestLine:
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ValueError("a line must be a JSON object, {...}")
    extra = line.get("extra") or {}
    if not isinstance(extra, dict):
        raise ValueError("extra must be a JSON object, {...}")
    output = _tokens(line, _OUTPUT_NAMES) or max_tokens
    prompt, messages, tokens = line.get("prompt"), line.get("messages"), _tokens(line, _INPUT_NAMES)
    if isinstance(prompt, str) and prompt:
        asked: tuple[Message, ...] = (Message("user", prompt),)
    elif messages:
        asked, extra = _messages(messages), {"messages": messages, **extra}
    elif tokens:
        asked = (Message("user", made_up_text(rng, tokens)),)
    else:
        raise ValueError('a line needs "prompt", "messages" or "input_len"')
    return RequestLine(_timestamp(line.get("timestamp")), asked, output, extra)


def _messages(values: Any) -> tuple[Message, ...]:
    if not isinstance(values, list) or not all(isinstance(value, dict) and "role" in value for value in values):
        raise ValueError('messages must be a list of {"role": ..., "content": ...}')
    return tuple(Message(str(value["role"]), str(value.get("content") or "")) for value in values)


def _tokens(line: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if (value := line.get(name)) is not None:
            if not isinstance(value, int) or not 1 <= value <= MAX_TOKENS:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
            return value
    return None


def _timestamp(value: Any) -> float | None:
    match value:
        case None:
            return None
        case bool():
            pass
        case int() | float() if abs(value) < 1e12:
            return float(value)
        case str():
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                pass
    raise ValueError(f"timestamp must be seconds or ISO 8601, not {value!r}")
