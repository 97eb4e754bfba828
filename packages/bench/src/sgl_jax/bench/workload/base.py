"""What a workload is: an endless, repeatable stream of conversations, most of them of one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request to send, before anything about the server or the sampling is known.

    Attributes:
        index: position of the conversation in the workload, from 0; the same index always names the same one.
        messages: the conversation so far, oldest first.
        max_tokens: the most tokens to generate.
        turn: which request of its conversation this is, from 0.
        workload: which part of a mixed workload it comes from.
        pause: seconds between the answer before it and this request: somebody reads and types.
        extra: further fields of the request's body, such as `response_format`.
        next_turn: makes the conversation's next request from the answer to this one; None ends it.
    """

    index: int
    messages: tuple[Message, ...]
    max_tokens: int
    turn: int = 0
    workload: str | None = None
    pause: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    next_turn: NextTurn | None = None

    def as_text(self) -> str:
        """Return the prompt for an endpoint that takes plain text: the messages' contents, one a line."""
        return "\n".join(message.content for message in self.messages)


NextTurn = Callable[[str], RequestSpec]
"""From an answer to the request that follows it."""


class Workload(Protocol):
    """A source of conversations; the strategy decides how many are taken and when."""

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        ...

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the first requests of conversations, the same on every call."""
        ...
