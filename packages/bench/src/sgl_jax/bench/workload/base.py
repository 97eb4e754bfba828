"""What a workload is: an endless, repeatable stream of requests to send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request to send, before anything about the server or the sampling is known.

    Attributes:
        index: position in the workload, from 0; the same index always names the same request.
        messages: the conversation, oldest first.
        max_tokens: the most tokens to generate.
    """

    index: int
    messages: tuple[Message, ...]
    max_tokens: int

    def as_text(self) -> str:
        """Return the prompt for an endpoint that takes plain text: the messages' contents, one a line."""
        return "\n".join(message.content for message in self.messages)


class Workload(Protocol):
    """A source of requests; the strategy decides how many are taken and when."""

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        ...

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator, the same on every call."""
        ...
