"""Which formats there are: their names, their grammars, and how a chat template shows that it speaks one.

A new format is a file with its grammar, and an entry here.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sgl_jax.server.parsing import harmony
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Reader, Reading
from sgl_jax.server.parsing.tools import deepseek, glm4, glm45, hermes, llama3, mistral, pythonic, qwen3_coder
from sgl_jax.server.parsing.tools.declared import Tools

AUTO, NONE = "auto", "none"
HARMONY = "gpt-oss"
"""The one format that is both: its channels hold reasoning, content and calls."""


def openai_id() -> str:
    """An id like OpenAI's."""
    return f"call_{uuid.uuid4().hex[:24]}"


def mistral_id() -> str:
    """An id as Mistral's chat templates insist on: nine letters and digits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a family of models writes tool calls.

    Attributes:
        name: for `--tool-call-parser`.
        aliases: other names, mostly SGLang's and vLLM's.
        grammar: None for harmony, which has its own place.
        markers: strings that may be special tokens, which the text must keep.
        hints: a chat template that holds every string of one of these sets speaks the format.
        new_id: makes the calls' ids.
    """

    name: str
    aliases: tuple[str, ...] = ()
    grammar: Callable[[Reader, Output, Tools], Reading[None]] | None
    markers: tuple[str, ...]
    hints: tuple[tuple[str, ...], ...]
    new_id: Callable[[], str] = openai_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFormat:
    """How a family of models writes its reasoning.

    Attributes:
        name: for `--reasoning-parser`.
        aliases: other names, mostly SGLang's and vLLM's.
        opening, closing: what is around the reasoning; empty for harmony.
        markers, hints: as in `ToolFormat`.
        assumed: whether an answer begins inside the reasoning even if neither it nor the prompt says so.
    """

    name: str
    aliases: tuple[str, ...] = ()
    opening: str = ""
    closing: str = ""
    markers: tuple[str, ...]
    hints: tuple[tuple[str, ...], ...] = ()
    assumed: bool = False


TOOL_FORMATS: tuple[ToolFormat, ...] = (
    ToolFormat(
        name=HARMONY,
        aliases=("openai", "harmony"),
        grammar=None,
        markers=harmony.MARKERS,
        hints=(("<|channel|>", "<|message|>"),),
    ),
    ToolFormat(
        name="glm45",
        aliases=("glm47",),
        grammar=glm45.glm45,
        markers=glm45.MARKERS,
        hints=(("<tool_call>", "<arg_key>"),),
    ),
    ToolFormat(
        name="qwen3-coder",
        aliases=("qwen3-xml",),
        grammar=qwen3_coder.qwen3_coder,
        markers=qwen3_coder.MARKERS,
        hints=(("<tool_call>", "<function="),),
    ),
    ToolFormat(
        name="hermes",
        aliases=("qwen", "qwen25", "qwen3"),
        grammar=hermes.hermes,
        markers=(hermes.OPEN, hermes.CLOSE),
        hints=(("<tool_call>",),),
    ),
    ToolFormat(
        name="mistral",
        grammar=mistral.mistral,
        markers=(mistral.OPEN, mistral.CALL_ID, mistral.ARGS),
        hints=(("[TOOL_CALLS]",),),
        new_id=mistral_id,
    ),
    ToolFormat(
        name="deepseek",
        aliases=("deepseekv3", "deepseek-v3", "deepseekv31", "deepseek-v31", "deepseek-r1"),
        grammar=deepseek.deepseek,
        markers=(
            deepseek.CALLS_BEGIN,
            deepseek.CALLS_END,
            deepseek.CALL_BEGIN,
            deepseek.CALL_END,
            deepseek.SEPARATOR,
        ),
        hints=(("<｜tool▁calls▁begin｜>",),),
    ),
    ToolFormat(
        name="llama3",
        aliases=("llama3-json", "llama4-json"),
        grammar=llama3.llama3,
        markers=(*llama3.OPENS, llama3.CLOSE),
        hints=(('"parameters": dictionary of argument name',), ("<|python_tag|>",), ('"name": "', '"parameters": ')),
    ),
    ToolFormat(
        name="pythonic",
        aliases=("llama4-pythonic", "lfm2"),
        grammar=pythonic.pythonic,
        markers=(*pythonic.FRAMES, *pythonic.FRAMES.values()),
        hints=(("<|tool_call_start|>",), ("[func_name1(params_name1=",), ("<|python_start|>",)),
    ),
    ToolFormat(
        name="glm4",
        aliases=("glm",),
        grammar=glm4.glm4,
        markers=(),
        hints=(("<|observation|>", "[gMASK]"),),
    ),
)
"""In the order of asking: what a template may hold beside its own marks comes last."""

REASONING_FORMATS: tuple[ReasoningFormat, ...] = (
    ReasoningFormat(
        name=HARMONY,
        aliases=("openai-gptoss", "harmony"),
        markers=harmony.MARKERS,
        hints=(("<|channel|>", "<|message|>"),),
    ),
    ReasoningFormat(
        name="mistral",
        opening="[THINK]",
        closing="[/THINK]",
        markers=("[THINK]", "[/THINK]"),
        hints=(("[THINK]",),),
    ),
    ReasoningFormat(
        name="qwen3",
        aliases=("think", "glm45", "deepseek-v3", "deepseek-v31"),
        opening="<think>",
        closing="</think>",
        markers=("<think>", "</think>"),
        hints=(("</think>",), ("<think>",)),
    ),
    ReasoningFormat(
        name="deepseek-r1",
        aliases=("qwen3-thinking",),
        opening="<think>",
        closing="</think>",
        markers=("<think>", "</think>"),
        assumed=True,
    ),
)
"""In the order of asking."""

TOOL_NAMES = (AUTO, NONE, *(one.name for one in TOOL_FORMATS))
REASONING_NAMES = (AUTO, NONE, *(one.name for one in REASONING_FORMATS))
"""Values of the flags, aliases left out."""

Format = TypeVar("Format", ToolFormat, ReasoningFormat)


def find_format(formats: Sequence[Format], name: str, template: str | None) -> Format | None:
    """The format that a flag names, or that a chat template speaks.

    Args:
        name: a format's name or alias (`_` is as good as `-`), `auto` or `none`.
        template: Jinja source; None when there is none.

    Raises:
        KeyError: for an unknown name.
    """
    if name == NONE:
        return None
    if name == AUTO:
        hinted = (one for one in formats if any(all(mark in (template or "") for mark in marks) for marks in one.hints))
        return next(hinted, None)
    spelled = name.lower().replace("_", "-")
    for one in formats:
        if spelled == one.name or spelled in one.aliases:
            return one
    raise KeyError(name)
