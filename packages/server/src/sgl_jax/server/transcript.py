"""One answer as a row of blocks: text, reasoning, tool calls, in the order in which the model wrote them.

The APIs that describe answers in this way (OpenAI's Responses, Anthropic's Messages) write a transcript down: what
changes in it as events of a stream, what it is at the end as a body. Both come from the same pieces, so they agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from sgl_jax.engine.messages import Finish, TokenLogprobs
from sgl_jax.server.answer_reader import AnswerReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.generation import Generation, Job, Piece
from sgl_jax.server.openai.usage import UsageCounter
from sgl_jax.server.parsing.events import CallArguments, CallBegin, CallEnd, Content, Event, Reasoning

Scored = tuple[int, TokenLogprobs]
"""A token id with its log-probabilities."""


class Kind(Enum):
    """What a block holds."""

    TEXT = "text for the reader"
    REASONING = "what the model wrote to itself"
    CALL = "a tool call, with its arguments as JSON text"


@dataclass(slots=True)
class Block:
    """A part of an answer.

    Attributes:
        index: its place among the answer's blocks.
        call_id, name: of a tool call.
        scored: tokens of a text with their log-probabilities, where these were asked for.
        whole: whether it is all that the model wanted to say in it; false while it grows, and if it was cut short.
    """

    index: int
    kind: Kind
    call_id: str = ""
    name: str = ""
    parts: list[str] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    whole: bool = False

    @property
    def text(self) -> str:
        """All that was said in it so far."""
        return "".join(self.parts)


@dataclass(frozen=True, slots=True)
class Opened:
    """A block begins; it is empty yet."""

    block: Block


@dataclass(frozen=True, slots=True)
class Grown:
    """A block goes on; `text` is never empty."""

    block: Block
    text: str
    scored: list[Scored]


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more belongs to a block."""

    block: Block


Change = Opened | Grown | Closed


class Transcript:
    """The only answer of a job, as far as it has come.

    Attributes:
        blocks: what was said; the last one may still grow.
        usage: tokens so far.
        reasoning_tokens: those of them that were spent on reasoning. A token that says nothing by itself (a marker)
            counts with what follows it.
        finish: how the answer ended; None before.
    """

    def __init__(self, job: Job) -> None:
        self.blocks: list[Block] = []
        self.usage = UsageCounter(job)
        self.reasoning_tokens = 0
        self.finish: Finish | None = None
        self._reader = AnswerReader(job)
        self._open: Block | None = None
        self._unspent = 0  # tokens that have said nothing yet
        self._unscored: list[Scored] = []  # and their log-probabilities

    @property
    def called(self) -> bool:
        """Whether there is a tool call."""
        return any(block.kind is Kind.CALL for block in self.blocks)

    def add(self, piece: Piece) -> list[Change]:
        """Takes in a piece; says what it changes."""
        self.usage.add(piece)
        self._unscored += zip(piece.token_ids, piece.logprobs, strict=False)
        events = self._reader.read(piece)
        changes = self._apply(events)
        self._spend(len(piece.token_ids), events, piece.finish)
        if piece.finish is not None:
            self.finish = piece.finish
            changes += self._close()
            if changes and piece.finish.reason != "stop":
                self.blocks[-1].whole = False
        return changes

    def _apply(self, events: Iterable[Event]) -> list[Change]:
        changes: list[Change] = []
        for event in events:
            match event:
                case Content(text):
                    changes += self._say(Kind.TEXT, text)
                case Reasoning(text):
                    changes += self._say(Kind.REASONING, text)
                case CallBegin(id=call_id, name=name):
                    changes += self._begin(Kind.CALL, call_id, name)
                case CallArguments(text=text):
                    changes += self._say(Kind.CALL, text)
                case CallEnd():
                    changes += self._close()
        return changes

    def _say(self, kind: Kind, text: str) -> list[Change]:
        changes = [] if self._open is not None and self._open.kind is kind else self._begin(kind)
        assert self._open is not None
        self._open.parts.append(text)
        scored: list[Scored] = []
        if kind is Kind.TEXT:
            scored, self._unscored = self._unscored, []
            self._open.scored += scored
        return [*changes, Grown(self._open, text, scored)]

    def _begin(self, kind: Kind, call_id: str = "", name: str = "") -> list[Change]:
        changes = self._close()
        self._open = Block(len(self.blocks), kind, call_id, name)
        self.blocks.append(self._open)
        return [*changes, Opened(self._open)]

    def _close(self) -> list[Change]:
        if self._open is None:
            return []
        closed, self._open = self._open, None
        closed.whole = True
        return [Closed(closed)]

    def _spend(self, tokens: int, events: list[Event], finish: Finish | None) -> None:
        self._unspent += tokens
        if events or finish is not None:
            if self.blocks and self.blocks[-1].kind is Kind.REASONING:
                self.reasoning_tokens += self._unspent
            self._unspent, self._unscored = 0, []


async def transcribe(context: ServerContext, job: Job, transcript: Transcript) -> None:
    """Runs a job to its end.

    Raises:
        ApiError: the engine refused or failed it.
        EngineDeadError: the engine is gone.
    """
    async with Generation(context, job) as pieces:
        async for piece in pieces:
            transcript.add(piece)
