"""The formats of one server's model, and the parsers that its requests need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

from sgl_jax.server.parsing import harmony
from sgl_jax.server.parsing.filters import CallsOnly, FirstCallOnly, WholeReasoning
from sgl_jax.server.parsing.formats import (
    HARMONY,
    NONE,
    REASONING_FORMATS,
    TOOL_FORMATS,
    ReasoningFormat,
    ToolFormat,
    find_format,
    openai_id,
)
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.parser import Chain, Grammar, GrammarParser, Parser, PlainText
from sgl_jax.server.parsing.reader import Reader, Reading
from sgl_jax.server.parsing.reasoning.start import Start, start_between
from sgl_jax.server.parsing.reasoning.think import think
from sgl_jax.server.parsing.tools.declared import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one request wants of its answer.

    Attributes:
        tools: the declared functions; None where calls stay content.
        parallel: whether there may be more than one call.
        forced: whether a grammar allows nothing but calls, behind the reasoning.
        separate_reasoning: whether reasoning is told from content.
        stream_reasoning: whether it comes in pieces.
    """

    tools: Tools | None = None
    parallel: bool = True
    forced: bool = False
    separate_reasoning: bool = True
    stream_reasoning: bool = True


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How one request's answers are read.

    Attributes:
        new_parser: makes a parser for each answer.
        markers: special tokens that the parsers need to see.
    """

    new_parser: Callable[[], Parser]
    markers: frozenset[str]


PLAIN = AnswerFormat(PlainText, frozenset())
"""The answer is content and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """How a model speaks beyond plain text.

    Attributes:
        tools, reasoning: its formats; None where it has none, or they were switched off.
        arguments_as_text: whether the chat template wants earlier calls' arguments as JSON text, not as objects.
        template: source of the chat template, by which versions of a format can be told apart.
    """

    tools: ToolFormat | None = None
    reasoning: ReasoningFormat | None = None
    arguments_as_text: bool = False
    template: str = ""

    @classmethod
    def choose(cls, tools: str, reasoning: str, template: str | None, *, arguments_as_text: bool = False) -> ChatFormat:
        """The formats by their flags' values and the chat template. Raises `KeyError` for an unknown name."""
        return cls(
            tools=find_format(TOOL_FORMATS, tools, template),
            reasoning=find_format(REASONING_FORMATS, reasoning, template),
            arguments_as_text=arguments_as_text,
            template=template or "",
        )

    @property
    def names(self) -> tuple[str, str]:
        """What the log shows: the names of the two formats."""
        return (self.tools.name if self.tools else NONE, self.reasoning.name if self.reasoning else NONE)

    def answer(self, wanted: Wanted, prompt: str, said: str | None) -> AnswerFormat:
        """How to read the answers to a prompt.

        Args:
            wanted: what the request asked for.
            prompt: the whole prompt's text.
            said: the beginning of the answer, when the model is to go on with the final message.
        """
        stages: list[_Stage] = []
        reasoning = self.reasoning if wanted.separate_reasoning else None
        if reasoning is not None and reasoning.opening:
            stages += _think(reasoning, prompt, said)
        if HARMONY in {one.name for one in (self.tools, self.reasoning) if one is not None}:
            # Whatever is asked for: without the channels' marks, nobody could tell their texts apart.
            tools = wanted.tools if self.tools is not None and self.tools.grammar is None else None
            separate = reasoning is not None and not reasoning.opening
            stages.append(_harmony(tools, separate, harmony.harmony_start(prompt, said)))
        if self.tools is not None and self.tools.grammar is not None and wanted.tools is not None:
            stages.append(_calls(self.tools, self.tools.grammar, wanted.tools))
        if not stages:
            return PLAIN

        def new_parser() -> Parser:
            parser = reduce(Chain, [stage.new_parser() for stage in stages])
            if wanted.forced and wanted.separate_reasoning:
                parser = CallsOnly(parser)
            if not wanted.parallel:
                parser = FirstCallOnly(parser)
            return parser if wanted.stream_reasoning else WholeReasoning(parser)

        return AnswerFormat(new_parser, frozenset(mark for stage in stages for mark in stage.markers))


@dataclass(frozen=True, slots=True)
class _Stage:
    grammar: Grammar
    markers: tuple[str, ...]
    new_id: Callable[[], str] = openai_id

    def new_parser(self) -> Parser:
        return GrammarParser(self.grammar, self.new_id)


def _think(format: ReasoningFormat, prompt: str, said: str | None) -> list[_Stage]:
    start = start_between(prompt, said, format.opening, format.closing)
    if start is Start.OUTSIDE:
        return []
    if format.assumed:
        start = Start.INSIDE
    grammar = partial(think, opening=format.opening, closing=format.closing, start=start)
    return [_Stage(grammar, format.markers)]


def _harmony(tools: Tools | None, separate: bool, start: Start) -> _Stage:
    return _Stage(partial(harmony.harmony, tools=tools, separate=separate, start=start), harmony.MARKERS)


def _calls(format: ToolFormat, grammar: Callable[[Reader, Output, Tools], Reading[None]], tools: Tools) -> _Stage:
    return _Stage(lambda text, output: grammar(text, output, tools), format.markers, format.new_id)
