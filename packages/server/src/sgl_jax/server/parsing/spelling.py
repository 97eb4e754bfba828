"""How each family of models spells tool calls, as structural tags: what a grammar holds an answer to.

The other direction, from text to calls, is in the formats' own files; a test reads back what is spelled here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sgl_jax.server.parsing import harmony
from sgl_jax.server.parsing.arguments import (
    Node,
    Schema,
    UnspeakableError,
    const,
    json_object,
    keywords,
    one_of,
    quoted,
    sequence,
    tagged,
)
from sgl_jax.server.parsing.formats import HARMONY
from sgl_jax.server.parsing.tools import deepseek

RECIPIENT = "to=functions."
"""In harmony, what a function's name follows."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that may be called.

    Attributes:
        parameters: JSON schema of its arguments; None for none.
        lenient: pass over what cannot be kept to in the schema.
    """

    name: str
    parameters: Schema | None = None
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a format writes calls.

    Attributes:
        begin: what comes before the arguments, given the function's name.
        end: what comes behind them.
        arguments: the node for the arguments of a schema.
        between: what stands between two calls.
        before, after: what frames all calls together.
        trigger: a marker that only calls have, with which `before` or the first call begins; empty where there is none.
        other_text: where `trigger` is empty, a regular expression for answers that are no calls.
    """

    begin: Callable[[str], str]
    end: str = ""
    arguments: Callable[[Schema | None, bool], Node] = json_object
    between: str = "\n"
    before: str = ""
    after: str = ""
    trigger: str = ""
    other_text: str = ""


def forced_calls(format: str, functions: Sequence[Function], *, template: str, several: bool) -> Node:
    """An answer that is one call, or several, and nothing else.

    Args:
        format: a tool format's name.
        functions: at least one.
        template: source of the chat template, by which versions of a format are told apart.
        several: whether there may be more than one call.

    Raises:
        UnspeakableError: the format has no spelling for a function's parameters.
    """
    if format == HARMONY:
        return sequence([{"type": "optional", "content": _ANALYSIS}, _harmony_call(functions)])
    spelled = _spelling(format, template)
    calls: Node = {
        "type": "tags_with_separator",
        "tags": [_tag(spelled, function) for function in functions],
        "separator": spelled.between,
        "at_least_one": True,
        "stop_after_first": not several,
    }
    return sequence([part for part in (const(spelled.before), calls, const(spelled.after)) if part != const("")])


def free_calls(format: str, functions: Sequence[Function], *, template: str, several: bool) -> Node | None:
    """An answer that is text, calls, or text with calls; None where the format does not tell these apart.

    For harmony, it is what follows `RECIPIENT`.

    Args, raises: as for `forced_calls`.
    """
    if format == HARMONY:
        return _named(functions, one_of([const(_CONSTRAINED), const(f"{harmony.CHANNEL}commentary{_CONSTRAINED}")]))
    spelled = _spelling(format, template)
    calls = forced_calls(format, functions, template=template, several=several)
    if not spelled.trigger:
        return one_of([calls, {"type": "regex", "pattern": spelled.other_text}]) if spelled.other_text else None
    tags = [_tag(spelled, function) for function in functions]
    if spelled.before:  # the trigger begins the frame of all calls
        tags = [{"type": "tag", "begin": spelled.trigger, "content": _without_trigger(spelled, calls), "end": ""}]
    return {"type": "triggered_tags", "triggers": [spelled.trigger], "tags": tags, "stop_after_first": not several}


def _without_trigger(spelled: Spelling, calls: Node) -> Node:
    _, *rest = calls["elements"]
    return sequence([const(spelled.before.removeprefix(spelled.trigger)), *rest])


def _tag(spelled: Spelling, function: Function) -> Node:
    begin, end = spelled.begin(function.name), spelled.end
    try:
        arguments = spelled.arguments(function.parameters, function.lenient)
    except UnspeakableError as error:
        if not function.lenient:
            raise UnspeakableError(f"the function {function.name!r}: {error}") from None
        arguments = {"type": "any_text"}
    return {"type": "tag", "begin": begin, "content": arguments, "end": end}


_ANALYSIS: Node = {
    "type": "tag",
    "begin": f"{harmony.CHANNEL}analysis{harmony.MESSAGE}",
    "content": {"type": "any_text"},
    "end": f"{harmony.END}{harmony.START}assistant",
}


_CONSTRAINED = f" {harmony.CONSTRAIN}json{harmony.MESSAGE}"


def _harmony_call(functions: Sequence[Function]) -> Node:
    begin = f"{harmony.CHANNEL}commentary {RECIPIENT}"
    return {"type": "tag", "begin": begin, "content": _named(functions, const(_CONSTRAINED)), "end": ""}


def _named(functions: Sequence[Function], header: Node) -> Node:
    """A function's name, and how the model goes on from there to its arguments.

    Args:
        header: what follows the name; where the channel stands before it, it does not stand there.
    """
    return one_of([sequence([const(one.name), header, json_object(one.parameters, one.lenient)]) for one in functions])


def _spelling(format: str, template: str) -> Spelling:
    match format:
        case "hermes":
            return Spelling(
                begin=lambda name: f'<tool_call>\n{{"name": {quoted(name)}, "arguments": ',
                end="}\n</tool_call>",
                trigger="<tool_call>",
            )
        case "mistral" if "[ARGS]" in template:
            return Spelling(begin=lambda name: f"[TOOL_CALLS]{name}[ARGS]", between="", trigger="[TOOL_CALLS]")
        case "mistral":
            return Spelling(
                begin=lambda name: f'{{"name": {quoted(name)}, "arguments": ',
                end="}",
                between=", ",
                before="[TOOL_CALLS][",
                after="]",
                trigger="[TOOL_CALLS]",
            )
        case "deepseek":
            fenced = "```json" in template  # V3 and R1; V3.1 has no fence
            kind, opening, closing = ("function", "\n```json\n", "\n```") if fenced else ("", "", "")
            return Spelling(
                begin=lambda name: (
                    f"{deepseek.CALL_BEGIN}{kind}{deepseek.SEPARATOR if kind else ''}{name}"
                    f"{opening or deepseek.SEPARATOR}"
                ),
                end=f"{closing}{deepseek.CALL_END}",
                between="\n" if fenced else "",
                before=deepseek.CALLS_BEGIN,
                after=deepseek.CALLS_END,
                trigger=deepseek.CALLS_BEGIN,
            )
        case "glm45":
            return Spelling(
                begin=lambda name: f"<tool_call>{name}\n",
                end="</tool_call>",
                arguments=tagged("<arg_key>", "</arg_key>\n<arg_value>", "", "</arg_value>"),
                trigger="<tool_call>",
            )
        case "qwen3-coder":
            return Spelling(
                begin=lambda name: f"<tool_call>\n<function={name}>\n",
                end="</function>\n</tool_call>",
                arguments=tagged("<parameter=", ">\n", "\n", "</parameter>"),
                trigger="<tool_call>",
            )
        case "llama3":
            return Spelling(
                begin=lambda name: f'{{"name": {quoted(name)}, "parameters": ',
                end="}",
                between="; ",
                other_text=r"\s*([^{\s](.|\n)*)?",
            )
        case "pythonic":
            framed = "<|tool_call_start|>" in template
            return Spelling(
                begin=lambda name: f"{name}(",
                end=")",
                arguments=keywords,
                between=", ",
                before="<|tool_call_start|>[" if framed else "[",
                after="]<|tool_call_end|>" if framed else "]",
                trigger="<|tool_call_start|>" if framed else "",
                other_text=r"\s*([^\[\s](.|\n)*)?",
            )
        case "glm4":
            return Spelling(begin=lambda name: f"{name}\n")
        case _:
            raise KeyError(format)
