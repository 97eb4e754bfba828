"""What each tool format makes of what models write."""

from __future__ import annotations

import json
from typing import Any

import pytest

PARIS = '{"city": "Paris"}'
DS_CALL = "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + PARIS + "<｜tool▁call▁end｜>"
DS_OLD = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" + PARIS + "\n```<｜tool▁call▁end｜>"
GLM = "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>"
CODER = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"

WEATHER = ("get_weather", {"city": "Paris"})


def check(answer: Any, content: str, calls: list[tuple[str, Any]]) -> None:
    """Compares an answer, arguments as values."""
    assert answer.content == content
    assert [(call.name, json.loads(call.arguments)) for call in answer.calls] == calls


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        ("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>\n'),
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}'),  # the end token came early
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>'),
        ("llama3", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}'),
        ("llama3", '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}'),
        ("llama3", '<|python_start|>{"name": "get_weather", "parameters": {"city": "Paris"}}<|python_end|>'),
        ("mistral", '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "abcdefghi"}]'),
        ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}'),
        ("mistral", '[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city": "Paris"}'),
        ("mistral", '[TOOL_CALLS]get_weather{"city": "Paris"}'),
        ("pythonic", '[get_weather(city="Paris")]'),
        ("pythonic", "<|python_start|>[get_weather(city='Paris')]<|python_end|>"),
        ("pythonic", '<|tool_call_start|>[get_weather(city="Paris",)]<|tool_call_end|>'),
        ("deepseek", f"<｜tool▁calls▁begin｜>{DS_CALL}<｜tool▁calls▁end｜>"),
        ("deepseek", f"<｜tool▁calls▁begin｜>{DS_OLD}<｜tool▁calls▁end｜>"),
        ("glm4", '\nget_weather\n{"city": "Paris"}'),
        ("glm45", GLM),
        ("glm45", GLM.replace("\n", "")),
        ("qwen3-coder", CODER),
        ("qwen3-coder", CODER.removeprefix("<tool_call>\n")),
        ("gpt-oss", f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{PARIS}<|call|>"),
        ("gpt-oss", f" to=functions.get_weather<|channel|>commentary json<|message|>{PARIS}"),
        ("gpt-oss", f"<|channel|>commentary to=get_weather<|message|>{PARIS}"),
    ],
)
def test_a_call(parse: Any, tools: str, text: str) -> None:
    check(parse(text, tools=tools), "", [WEATHER])


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        (
            "hermes",
            'I look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
        ),
        (
            "llama3",
            'I look. <|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}; '
            '{"name": "f", "parameters": {"a": 1}}',
        ),
        (
            "mistral",
            'I look.[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}, '
            '{"name": "f", "arguments": {"a": 1}}]',
        ),
        ("mistral", 'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]f[ARGS]{"a": 1}'),
        ("pythonic", 'I look.<|tool_call_start|>[get_weather(city="Paris"), f(a=1)]<|tool_call_end|>'),
        (
            "deepseek",
            f'I look.\n<｜tool▁calls▁begin｜>{DS_CALL}\n<｜tool▁call▁begin｜>f<｜tool▁sep｜>{{"a": 1}}'
            "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        ("glm45", f"I look.\n{GLM}\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"),
        (
            "qwen3-coder",
            f"I look.\n{CODER}\n<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>\n",
        ),
        (
            "gpt-oss",
            f"<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to=functions.get_weather<|channel|>"
            f"commentary json<|message|>{PARIS}<|call|><|start|>assistant<|channel|>commentary to=functions.f "
            '<|constrain|>json<|message|>{"a": 1}<|call|>',
        ),
    ],
)
def test_content_and_parallel_calls(parse: Any, tools: str, text: str) -> None:
    answer = parse(text, tools=tools)
    check(answer, "I look.", [WEATHER, ("f", {"a": 1})])
    assert len({call.id for call in answer.calls}) == 2


def test_text_between_and_after_calls_is_content(parse: Any) -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    answer = parse(f"One.\n{call}\nTwo. {call} \n", tools="hermes")
    check(answer, "One.\nTwo.", [("f", {}), ("f", {})])


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        ("hermes", "Use <tool_call> to call."),
        ("hermes", "<tool_call>\nnot json\n</tool_call>"),
        ("hermes", '\n<tool_call>\n{"nom": "f", "arguments": {}}\n</tool_call>\n'),
        ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "arguments": "text"}</tool_call>'),
        ("hermes", '<tool_call>{"name": 7, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "get_w'),
        ("hermes", "<tool_ca"),
        ("hermes", '<tool_call>{"name": "' + "x" * 1000),
        ("llama3", '{"name": "Bob", "parameters": {"age": 7}}'),  # no such function: an answer in JSON
        ("llama3", '{"name": "f"}'),
        ("llama3", '{"x": 1}'),
        ("llama3", 'Say {"name": "f", "parameters": {}}'),
        ("mistral", "[TOOL_CALLS] none"),
        ("mistral", "[TOOL_CALLS][1, 2]"),
        ("pythonic", "[1, 2, 3]"),
        ("pythonic", "[see(x=1)]"),  # no such function
        ("pythonic", "[f(a=__import__('os').system('x'))]"),
        ("pythonic", "[f(a=open)]"),
        ("pythonic", "[f(1)]"),
        ("pythonic", "[f(**{'a': 1})]"),
        ("pythonic", "[f(a=1, a=2)]"),
        ("pythonic", "[f(a=1)(b=2)]"[:6]),
        ("pythonic", "[f(a=" + "(" * 5000 + ")" * 5000 + ")]"),
        ("pythonic", "[f(a=0x" + "f" * 5000 + ")]"),
        ("pythonic", "[f(a='\\ud800')]"),
        ("pythonic", "[f(a=1e999)]"),
        ("deepseek", "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>"),
        ("deepseek", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>no object"),
        ("glm4", 'f: {"a": 1}'),
        ("glm4", 'unknown\n{"a": 1}'),
        ("glm4", 'First this.\nf\n{"a": 1}'),
        ("glm45", "<tool_call>f then nothing"),
        ("glm45", "<tool_call>\n</tool_call>"),
        ("qwen3-coder", "<tool_call>\n{}\n</tool_call>"),
        ("qwen3-coder", "<function=f>text</function>"),
    ],
)
def test_what_is_no_call_is_given_back_whole(parse: Any, tools: str, text: str) -> None:
    check(parse(text, tools=tools), text, [])


@pytest.mark.parametrize("tools", ["hermes", "mistral"])
def test_arguments_are_what_the_model_wrote(parse: Any, tools: str) -> None:
    arguments = '{ "s":"a\\u00e9\\n}]\\"</tool_call>[TOOL_CALLS]" ,"n":[1.50,{"x":null}] }'
    frame = '<tool_call>{"name": "f", "arguments": %s}</tool_call>' if tools == "hermes" else "[TOOL_CALLS]f[ARGS]%s"
    (call,) = parse(frame % arguments, tools=tools).calls
    assert call.arguments == arguments


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        ("hermes", '<tool_call>{"name": "f"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "f", "arguments": null}</tool_call>'),
        ("mistral", "[TOOL_CALLS]f[ARGS]null"),
        ("pythonic", "[f()]"),
        ("glm45", "<tool_call>f</tool_call>"),
        ("qwen3-coder", "<tool_call>\n<function=f>\n</function>\n</tool_call>"),
        ("gpt-oss", "<|channel|>commentary to=functions.f<|message|><|call|>"),
    ],
)
def test_no_arguments_are_an_empty_object(parse: Any, tools: str, text: str) -> None:
    (call,) = parse(text, tools=tools).calls
    assert call.arguments == "{}"


def test_a_call_that_is_cut_short_keeps_what_came(parse: Any) -> None:
    (call,) = parse('<tool_call>{"name": "f", "arguments": {"s": "Par', tools="hermes").calls
    assert call.arguments == '{"s": "Par'
    (call,) = parse("<tool_call>f<arg_key>s</arg_key><arg_value>Par", tools="glm45").calls
    assert call.arguments == '{"s": "Par'
    answer = parse("<tool_call>f<arg_key>a</arg_key><arg_value>12</arg_value><arg_", tools="glm45")
    assert answer.calls[0].arguments == '{"a": 12'  # more arguments may have been meant
    assert answer.content == "<arg_"


def test_junk_behind_arguments_ends_the_call_and_is_content(parse: Any) -> None:
    answer = parse('<tool_call>{"name": "f", "arguments": {"a": 1}, "thought": "hm"}</tool_call>', tools="hermes")
    check(answer, ', "thought": "hm"}</tool_call>', [("f", {"a": 1})])
    answer = parse("<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value> hm </tool_call>", tools="glm45")
    check(answer, " hm </tool_call>", [("f", {"a": 1})])
    check(parse("[f(a=1), or else]", tools="pythonic"), ", or else]", [("f", {"a": 1})])


@pytest.mark.parametrize("tools", ["glm45", "qwen3-coder"])
@pytest.mark.parametrize(
    ("parameter", "written", "value"),
    [
        ("s", "12", "12"),  # declared a string
        ("s", 'a "quoted"\n\tline \\', 'a "quoted"\n\tline \\'),
        ("a", "12", 12),  # declared a number
        ("a", "twelve", "twelve"),
        ("a", "{'x': True}", {"x": True}),
        ("x", "12", 12),  # not declared
        ("x", '{"y": [1, null]}', {"y": [1, None]}),
        ("x", "Paris", "Paris"),
        ("x", "NaN", "NaN"),
        ("x", "True", "True"),
    ],
)
def test_tagged_values_get_their_declared_type(
    parse: Any, tools: str, parameter: str, written: str, value: Any
) -> None:
    if tools == "glm45":
        text = f"<tool_call>f\n<arg_key>{parameter}</arg_key>\n<arg_value>{written}</arg_value>\n</tool_call>"
    else:
        text = f"<tool_call><function=f><parameter={parameter}>\n{written}\n</parameter></function></tool_call>"
    check(parse(text, tools=tools), "", [("f", {parameter: value})])


def test_pythonic_values(parse: Any) -> None:
    text = r"""[f(a=-1, b=+2.5, c=[True, None, null, false], d={'k': ('x', "y")}, e='it\'s \u00e9 \d', f=1_000)]"""
    (call,) = parse(text, tools="pythonic").calls
    assert json.loads(call.arguments) == {
        "a": -1, "b": 2.5, "c": [True, None, None, False], "d": {"k": ["x", "y"]}, "e": "it's é \\d", "f": 1000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tools", "text", "content", "arguments"),
    [
        ("hermes", "Hi <", "Hi", []),
        ("hermes", "Hi <b", "Hi <b", []),
        ("hermes", 'Hi <tool_call>{"name": "f"', "Hi", []),
        ("hermes", 'Hi <tool_call>{"name": "f", "arguments": ', "Hi", []),
        ("hermes", 'Hi <tool_call>{"name": "f", "arguments": {', "Hi", ["{"]),
        ("hermes", 'Hi <tool_call>{"name": "f", "arguments": {"s": "a</too', "Hi", ['{"s": "a</too']),
        ("llama3", '{"name": "g', "", []),
        ("llama3", '{"name": "Bob"', '{"name": "Bob"', []),
        ("llama3", '{"name": "f", "parameters": {"a', "", ['{"a']),
        ("mistral", '[TOOL_CALLS]f[ARGS]{"a"', "", ['{"a"']),
        ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {"a"', "", ['{"a"']),
        ("pythonic", "[f(a=1), get", "", ['{"a": 1}']),
        ("pythonic", "[see(", "[see(", []),
        ("deepseek", '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1', "", ['{"a": 1']),
        ("glm4", "get_", "", []),
        ("glm4", "get_it", "get_it", []),
        ("glm4", 'f\n{"a"', "", ['{"a"']),
        ("glm45", "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Par<", "", ['{"s": "Par']),
        ("glm45", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>12", "", ['{"a": ']),
        ("qwen3-coder", "<tool_call><function=f><parameter=s>\nPar\n", "", ['{"s": "Par']),
        ("gpt-oss", '<|channel|>commentary to=functions.f<|message|>{"a"', "", ['{"a"']),
        ("gpt-oss", "<|channel|>final<|message|>Hi <|en", "Hi ", []),
    ],
)
def test_nothing_waits_longer_than_it_must(
    so_far: Any, tools: str, text: str, content: str, arguments: list[str]
) -> None:
    answer = so_far(text, tools=tools)
    assert answer.content == content
    assert [call.arguments for call in answer.calls] == arguments


def test_ids_suit_the_template(parse: Any) -> None:
    (call,) = parse("[TOOL_CALLS]f[ARGS]{}", tools="mistral").calls
    assert len(call.id) == 9
    assert call.id.isalnum()
    (call,) = parse("[f()]", tools="pythonic").calls
    assert call.id.startswith("call_")
