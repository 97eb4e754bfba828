"""Formats by name, and by what a chat template shows."""

from __future__ import annotations

from typing import Any

import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.openai.messages import takes_arguments_as_text
from sgl_jax.server.parsing.chat_format import PLAIN, ChatFormat, Wanted
from sgl_jax.server.parsing.formats import REASONING_FORMATS, REASONING_NAMES, TOOL_FORMATS, TOOL_NAMES, find_format

QWEN3 = """{%- if tools %}return a json object within <tool_call></tool_call> XML tags:
<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>{% endif %}
{%- if '</think>' in content %}{% endif %}"""
QWEN3_CODER = "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>"
GLM45 = "[gMASK]<sop> <tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key> <|observation|> <think></think>"
GLM4 = "[gMASK]<sop>{% for m in messages %}<|observation|>{% endfor %}"
LLAMA31 = """{{- 'The format is {"name": function name, "parameters": dictionary of argument name and its value}.' }}
<|python_tag|>"""
LLAMA4 = "dictionary <|python_start|>{{- '{\"name\": \"' + tool_call.name + '\", ' }}{{- '\"parameters\": ' }}"
MISTRAL = "{{- '[TOOL_CALLS]' + name + '[ARGS]' + arguments }} [THINK]"
DEEPSEEK = "{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'}} {% if '</think>' in content %}"
HARMONY = "<|start|>assistant<|channel|>final<|message|>"
LFM2 = "<|tool_call_start|>[<|tool_call_end|>"
R1_DISTILL = "{% set content = content.split('</think>')[-1] %}<｜Assistant｜><think>\n"
PLAIN_CHATML = "<|im_start|>{{ message.role }}"


@pytest.mark.parametrize(
    ("template", "tools", "reasoning"),
    [
        (QWEN3, "hermes", "qwen3"),
        (QWEN3_CODER, "qwen3-coder", "none"),
        (GLM45, "glm45", "qwen3"),
        (GLM4, "glm4", "none"),
        (LLAMA31, "llama3", "none"),
        (LLAMA4, "llama3", "none"),
        (MISTRAL, "mistral", "mistral"),
        (DEEPSEEK, "deepseek", "qwen3"),
        (HARMONY, "gpt-oss", "gpt-oss"),
        (LFM2, "pythonic", "none"),
        (R1_DISTILL, "none", "qwen3"),
        (PLAIN_CHATML, "none", "none"),
        (None, "none", "none"),
    ],
)
def test_a_template_shows_its_formats(template: str | None, tools: str, reasoning: str) -> None:
    assert ChatFormat.choose("auto", "auto", template).names == (tools, reasoning)


def test_names_beat_the_template_and_none_switches_off() -> None:
    assert ChatFormat.choose("pythonic", "deepseek-r1", QWEN3).names == ("pythonic", "deepseek-r1")
    assert ChatFormat.choose("none", "none", QWEN3).names == ("none", "none")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("qwen25", "hermes"), ("llama3_json", "llama3"), ("deepseek_v3", "deepseek"), ("Qwen3_Coder", "qwen3-coder")],
)
def test_other_peoples_names(name: str, meant: str) -> None:
    format = find_format(TOOL_FORMATS, name, None)
    assert format is not None
    assert format.name == meant


@pytest.mark.parametrize("formats", [TOOL_FORMATS, REASONING_FORMATS])
def test_no_name_means_two_formats(formats: Any) -> None:
    names = [name for one in formats for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    assert not {"auto", "none"} & set(names)


@pytest.mark.parametrize(
    ("field", "flag", "names"),
    [
        ("tool_call_parser", "--tool-call-parser", TOOL_NAMES),
        ("reasoning_parser", "--reasoning-parser", REASONING_NAMES),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(field: str, flag: str, names: tuple[str, ...]) -> None:
    for name in names:
        ServerConfig(served_model_name="m", **{field: name})  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        ServerConfig(served_model_name="m", **{field: "telepathy"})  # type: ignore[arg-type]
    assert flag in str(caught.value)
    assert all(name in str(caught.value) for name in names)


def test_nothing_to_look_for_is_plain_text() -> None:
    qwen = ChatFormat.choose("hermes", "qwen3", None)
    assert ChatFormat().answer(Wanted(tools={"f": {}}), "", None) is PLAIN
    assert qwen.answer(Wanted(separate_reasoning=False), "", None) is PLAIN
    assert qwen.answer(Wanted(), "…<think>\n\n</think>\n\n", None) is PLAIN
    assert qwen.answer(Wanted(), "…", "The answer so far") is PLAIN


@pytest.mark.parametrize(
    ("arguments", "as_text"),
    [
        ("{{ c.function.arguments | tojson }}", False),
        ("{% for k, v in c.function.arguments.items() %}{{ k }}{% endfor %}", False),
        ("{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}", False),
        ("{{ 'x' + c.function.arguments }}", True),
        ("{{ c.function.arguments }}", True),
        ("", False),
        ("{{ raise_exception('no calls') }}", False),
    ],
)
def test_how_a_template_takes_arguments(arguments: str, as_text: bool) -> None:
    source = "{% for m in messages %}{% for c in m.tool_calls or [] %}" + arguments + "{% endfor %}{% endfor %}"
    assert takes_arguments_as_text(ChatTemplate(source)) is as_text


def test_a_server_without_a_template_has_nothing_to_ask() -> None:
    assert takes_arguments_as_text(ChatTemplate(None)) is False
