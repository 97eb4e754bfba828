"""The one grammar of a chat answer: the form asked for, the calls that must or may come, the reasoning before them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sgl_jax.engine.grammar import Grammar
from sgl_jax.server.errors import bad_request
from sgl_jax.server.grammars import AskedGrammar, asked_grammar, grammar_of
from sgl_jax.server.openai.schema.chat import ChatRequest
from sgl_jax.server.openai.schema.tools import NamedToolChoice, Tool
from sgl_jax.server.openai.tool_choice import ToolUse
from sgl_jax.server.parsing import harmony
from sgl_jax.server.parsing.arguments import Node, UnspeakableError, const, one_of
from sgl_jax.server.parsing.chat_format import ChatFormat
from sgl_jax.server.parsing.formats import HARMONY
from sgl_jax.server.parsing.reasoning.start import Start, start_between
from sgl_jax.server.parsing.spelling import RECIPIENT, Function, forced_calls, free_calls
from sgl_jax.server.strict_schema import closed

_FINAL = f"{harmony.CHANNEL}final{harmony.MESSAGE}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an answer is to be said.

    Attributes:
        format: how the model writes calls and reasoning.
        prompt: the whole prompt's text.
        said: the beginning of the answer, when the model is to go on with the final message.
    """

    format: ChatFormat
    prompt: str
    said: str | None = None


def chat_grammar(body: ChatRequest, use: ToolUse, turn: Turn) -> AskedGrammar | None:
    """What the answer is held to; None for nothing.

    Raises:
        ApiError: 400 for what no grammar can say.
    """
    asked = asked_grammar(body)
    several = body.parallel_tool_calls is not False
    strict = any(tool.function.strict for tool in use.offered)
    is_harmony = HARMONY in turn.format.names
    if use.forced:
        tools = [tool for tool in use.offered if tool.function.name in use.forced]
        several = several and not isinstance(body.tool_choice, NamedToolChoice)
        asked = _held_to(_forced(tools, turn, several=several, unsaid_is_strict=True))
        return asked if is_harmony else _behind_reasoning(asked, turn)
    if asked is not None:
        if use.offered and not is_harmony:
            asked = _or_calls(asked, _forced(use.offered, turn, several=several, unsaid_is_strict=False))
        return _behind_reasoning(asked, turn, optional=is_harmony and bool(use.offered))
    if strict and (node := _free(use.offered, turn, several=several)) is not None:
        held = _held_to(node)
        if is_harmony:
            return held._replace(grammar=replace(held.grammar, after=RECIPIENT, optional=True))
        return _behind_reasoning(held, turn, optional=True)
    return None


def _functions(tools: Sequence[Tool], *, unsaid_is_strict: bool) -> list[Function]:
    """The tools; those that are not `strict` are held to what can be kept to of their schemas."""
    functions = []
    for tool in tools:
        function = tool.function
        if function.parameters:
            grammar_of("json_schema", function.parameters, "tools")
        strict = unsaid_is_strict if function.strict is None else function.strict
        parameters = closed(function.parameters) if function.strict and function.parameters else function.parameters
        functions.append(Function(function.name, parameters, lenient=not strict))
    return functions


def _forced(tools: Sequence[Tool], turn: Turn, *, several: bool, unsaid_is_strict: bool) -> Node:
    functions = _functions(tools, unsaid_is_strict=unsaid_is_strict)
    try:
        return forced_calls(_tool_format(turn), functions, template=turn.format.template, several=several)
    except UnspeakableError as error:
        raise bad_request(f"tools: {error}.", "tools") from None


def _free(tools: Sequence[Tool], turn: Turn, *, several: bool) -> Node | None:
    functions = _functions(tools, unsaid_is_strict=False)
    try:
        return free_calls(_tool_format(turn), functions, template=turn.format.template, several=several)
    except UnspeakableError as error:
        raise bad_request(f"tools: {error}.", "tools") from None


def _tool_format(turn: Turn) -> str:
    assert turn.format.tools is not None  # tools are refused without
    return turn.format.tools.name


def _held_to(node: Node) -> AskedGrammar:
    return AskedGrammar(Grammar(kind="structural_tag", text=json.dumps({"format": node})), "tools")


def _or_calls(asked: AskedGrammar, calls: Node) -> AskedGrammar:
    """The form that was asked for, or calls; those only if the form can stand in a structural tag."""
    grammar = asked.grammar
    try:
        match grammar.kind:
            case "json_schema":
                node = {"type": "json_schema", "json_schema": json.loads(grammar.text), "lenient": grammar.lenient}
            case "regex":
                node = {"type": "regex", "pattern": grammar.text}
            case "choice":
                node = one_of([const(choice) for choice in json.loads(grammar.text)])
            case "structural_tag":
                node = json.loads(grammar.text)["format"]
            case _:
                return asked
    except (ValueError, LookupError, TypeError):  # the engine says better what is wrong with it
        return asked
    return asked._replace(grammar=_held_to(one_of([node, calls])).grammar)


def _behind_reasoning(asked: AskedGrammar, turn: Turn, *, optional: bool = False) -> AskedGrammar:
    """The same behind the model's reasoning, if it may reason here."""
    format = turn.format.reasoning
    if HARMONY in turn.format.names:
        if harmony.harmony_start(turn.prompt, turn.said) is Start.OUTSIDE:
            return asked
        return asked._replace(grammar=replace(asked.grammar, after=_FINAL, optional=optional))
    if format is None or not format.opening:
        return asked
    start = start_between(turn.prompt, turn.said, format.opening, format.closing)
    if start is Start.OUTSIDE:
        return asked
    opening = format.opening if start is Start.UNKNOWN and not format.assumed else ""
    return asked._replace(grammar=replace(asked.grammar, after=format.closing, opening=opening, optional=optional))
