"""Answers that are kept for a while, so that a conversation can go on from them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from sgl_jax.server.errors import ApiError, bad_request
from sgl_jax.server.openai.responses.items import OutputItem, ResponseObject
from sgl_jax.server.openai.schema.chat import ChatMessage

_ENCODER = msgspec.json.Encoder()
_MESSAGE_BYTES = 256
"""What a message costs beyond its text, about."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer with all that led to it.

    Attributes:
        messages: the conversation, this answer last; without instructions, which hold for one answer only.
        size: bytes, about.
        expires: when it is forgotten, by the store's clock.
    """

    response: ResponseObject
    messages: Sequence[ChatMessage]
    size: int
    expires: float


class ResponseStore:
    """Keeps answers in memory, the latest used longest.

    Every entry holds its whole conversation and counts as such, although entries of one conversation share their
    messages: an entry may be the last that keeps them.

    Args:
        max_count, max_bytes: what is kept at most; 0 keeps nothing.
        seconds: how long an answer is kept after its last use.
        clock: tells the time.
    """

    def __init__(
        self, *, max_count: int, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries: OrderedDict[str, Stored] = OrderedDict()  # in the order of their expiry
        self._bytes = 0
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, response: ResponseObject, messages: Sequence[ChatMessage]) -> None:
        """Keeps an answer; one that is larger than the whole store is not kept."""
        size = len(_ENCODER.encode(response)) + len(_ENCODER.encode(messages)) + _MESSAGE_BYTES * len(messages)
        if size > self._max_bytes:
            return
        self._entries[response.id] = Stored(response, messages, size, self._clock() + self._seconds)
        self._bytes += size
        self._shrink()

    def get(self, response_id: str) -> Stored | None:
        """An answer, which counts as used; None where there is none (any more)."""
        self._shrink()
        stored = self._entries.pop(response_id, None)
        if stored is not None:
            expires = self._clock() + self._seconds
            self._entries[response_id] = Stored(stored.response, stored.messages, stored.size, expires)
        return stored

    def delete(self, response_id: str) -> bool:
        """Forgets an answer; says whether there was one."""
        stored = self._entries.pop(response_id, None)
        if stored is not None:
            self._bytes -= stored.size
        return stored is not None

    def find_item(self, item_id: str) -> OutputItem | None:
        """An item of a stored answer, by its id."""
        response_id, index = response_of_item(item_id)
        stored = self.get(response_id)
        return stored.response.output[index] if stored is not None and index < len(stored.response.output) else None

    def found(self, response_id: str) -> Stored:
        """As `get`.

        Raises:
            ApiError: 404 where there is none.
        """
        if (stored := self.get(response_id)) is None:
            raise unknown_response(response_id)
        return stored

    def before(self, response_id: str | None) -> Sequence[ChatMessage]:
        """The conversation that a request goes on with.

        Raises:
            ApiError: 400 for an answer that is not stored (any more).
        """
        if response_id is None:
            return ()
        if (stored := self.get(response_id)) is None:
            message = (
                f"previous_response_id: there is no stored response {response_id!r}. Answers are kept in memory for "
                f"{self._seconds / 60:g} minutes, and as long as there is room; send the whole conversation instead."
            )
            raise bad_request(message, "previous_response_id", "previous_response_not_found")
        return stored.messages

    def _shrink(self) -> None:
        now = self._clock()
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if oldest.expires > now and self._bytes <= self._max_bytes and len(self._entries) <= self._max_count:
                return
            self.delete(oldest.response.id)


def unknown_response(response_id: str) -> ApiError:
    """A 404: there is no such answer."""
    message = f"There is no stored response {response_id!r}: it was never stored, was deleted, or is too old."
    return ApiError(404, message, param="response_id", code="response_not_found")


def item_id(prefix: str, response_id: str, index: int) -> str:
    """The id of an answer's item, from which the answer can be told."""
    return f"{prefix}_{response_id.removeprefix('resp_')}_{index}"


def response_of_item(item: str) -> tuple[str, int]:
    """The answer that an item belongs to, and the item's place in it; what is no id of ours belongs to none."""
    _, _, rest = item.partition("_")
    response, _, index = rest.partition("_")
    return f"resp_{response}", int(index) if index.isascii() and index.isdecimal() and len(index) < 6 else 10**6
