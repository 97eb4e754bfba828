"""The JSON of the mock's answers, whole and in events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """The shape in which one route wraps its text; the rest is the same for all routes."""

    id: str
    kind: str
    chunk_kind: str
    delta: Callable[[str], dict[str, Any]]
    whole: Callable[[str], dict[str, Any]]

    def event(self, model: str, choices: list[dict[str, Any]], **extra: object) -> bytes:
        """Return the data of one event of a stream."""
        value = {"id": self.id, "object": self.chunk_kind, "created": 0, "model": model, "choices": choices, **extra}
        return json.dumps(value, separators=(",", ":")).encode()


def chat_answer(number: int) -> Answer:
    """Return the shape of `/v1/chat/completions`."""
    return Answer(
        id=f"chatcmpl-{number}",
        kind="chat.completion",
        chunk_kind="chat.completion.chunk",
        delta=lambda text: {"delta": {"content": text}},
        whole=lambda text: {"message": {"role": "assistant", "content": text}},
    )


def text_answer(number: int) -> Answer:
    """Return the shape of `/v1/completions`."""
    return Answer(
        id=f"cmpl-{number}",
        kind="text_completion",
        chunk_kind="text_completion",
        delta=lambda text: {"text": text},
        whole=lambda text: {"text": text},
    )


def made_up_words(first: int, number: int) -> str:
    """Return `number` made-up tokens. One token is one word and a half, so that counting words gives a wrong sum."""
    return "".join(f" mo ck{index}" if index % 2 else f" mock{index}" for index in range(first, first + number))


def prompt_tokens(body: dict[str, Any]) -> int:
    """Return how many tokens the mock takes a request's prompt for: its words."""
    prompt = body.get("prompt", "") or " ".join(str(message.get("content")) for message in body.get("messages", []))
    return max(1, len(str(prompt).split()))
