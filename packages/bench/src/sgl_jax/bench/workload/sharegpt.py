"""ShareGPT's JSON: a list of conversations between `human` and `gpt`, the common stand-in for real chats."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.bench.workload.conversation import UserTurn, conversation
from sgl_jax.bench.workload.cycle import Cycle
from sgl_jax.bench.workload.files import read_json

_USERS = frozenset({"human", "user"})


def read_sharegpt(
    path: Path, max_tokens: int, *, turns: int | None = 1, pause: float = 0.0, seed: int | None = None
) -> Cycle:
    """Read the conversations of `path`.

    Only what users said is sent; the history of a later turn holds the answers of the model under test.

    Args:
        path: a JSON list of `{"conversations": [{"from": "human", "value": ...}, ...]}`.
        max_tokens: most tokens of each answer.
        turns: at most so many turns of each conversation; None means all.
        pause: seconds between an answer and the next turn.
        seed: draws the order of conversations; None keeps the file's.

    Raises:
        WorkloadError: the file is something else, or nobody says anything in it.
    """
    entries = read_json(path, "ShareGPT file")
    if not isinstance(entries, list):
        raise WorkloadError(f"ShareGPT file {path} is not a list of conversations")
    said = [texts[:turns] for entry in entries if (texts := _user_texts(entry))]
    made: list[Callable[[int], RequestSpec]] = [
        partial(conversation, turns=[UserTurn(text, max_tokens) for text in texts], pause=pause) for texts in said
    ]
    return Cycle(f"ShareGPT file {path.name}", made, seed)


def _user_texts(entry: Any) -> list[str]:
    """Return what the user says in an entry, in order; nothing for an entry of another shape."""
    messages = entry.get("conversations") or entry.get("messages") if isinstance(entry, dict) else None
    if not isinstance(messages, list):
        return []
    texts = []
    for message in messages:
        if isinstance(message, dict) and (message.get("from") or message.get("role")) in _USERS:
            text = message.get("value") or message.get("content")
            if isinstance(text, str) and text.strip():
                texts.append(text)
    return texts
