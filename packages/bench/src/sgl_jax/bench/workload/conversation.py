"""A conversation whose user's part is known beforehand; a turn is sent when the one before has been answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sgl_jax.bench.workload.base import Message, NextTurn, RequestSpec


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user says, and the most tokens that the model may answer."""

    text: str
    max_tokens: int


def conversation(
    index: int, turns: Sequence[UserTurn], *, opening: tuple[Message, ...] = (), pause: float = 0.0
) -> RequestSpec:
    """Return the first request of a conversation; the others follow from the answers.

    Args:
        index: of the conversation.
        turns: at least one.
        opening: messages in front of all, such as a system prompt.
        pause: seconds between an answer and the user's next turn.
    """
    return _request(index, turns, 0, opening, pause)


def _request(
    index: int, turns: Sequence[UserTurn], turn: int, history: tuple[Message, ...], pause: float
) -> RequestSpec:
    messages = (*history, Message("user", turns[turn].text))
    follow: NextTurn | None = None
    if turn + 1 < len(turns):

        def follow(answer: str) -> RequestSpec:
            return _request(index, turns, turn + 1, (*messages, Message("assistant", answer)), pause)

    return RequestSpec(
        index,
        messages,
        turns[turn].max_tokens,
        turn=turn,
        pause=pause if turn else 0.0,
        next_turn=follow,
    )
