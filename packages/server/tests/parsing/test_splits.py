"""Laws of every parser, under random texts and random cuts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

JUNK = ["ж", " ", "\n", "Жa ", "{", "}", "[", "]", '"', "\\", ",", ":", "<", "|", "=", "null", "'", "\n\n"]
JSON_CALL = '{"name": "f", "arguments": {"s": "ж \\" } ] ж"}}'
JSON = [
    JSON_CALL, '{"name": "f", "parameters": {"a": [1, {}]}}', '{"name": "f", ', '"name": "f"', '"arguments": ',
    '{"arguments": {"s": "ж"}, "name": "f"}', '{"name": "f", "arguments": "{\\"s\\": \\"ж\\"}"}', '{"s": "ж"}',
    '{"type": "function", "name": "get_weather"}', '{"name": "f", "arguments": null}', ', "id": "1"}', "}}",
]  # fmt: skip
FRAGMENTS: dict[tuple[str, str], list[str]] = {
    ("hermes", "none"): ["<tool_call>", "</tool_call>", f"<tool_call>\n{JSON_CALL}\n</tool_call>\n", "<tool_", *JSON],
    ("llama3", "none"): ["<|python_tag|>", "<|python_end|>", f"{JSON_CALL};", ";", "<|python_", *JSON],
    ("mistral", "none"): [
        "[TOOL_CALLS]", f"[TOOL_CALLS] [{JSON_CALL}, {JSON_CALL}]", '[TOOL_CALLS]f[ARGS]{"s": "ж"}',
        "f", "[ARGS]", "[CALL_ID]1", "[TOOL_", *JSON,
    ],
    ("pythonic", "none"): [
        "[f(a=1, s='ж')", ", f(s=\"ж)'\")", "[f(", "f(a=[1, {'ж': (2,)}])", "]", ")", "a=-1.5", "<|python_start|>",
        "<|python_end|>", "<|tool_call_start|>[get_weather(city='ж')]<|tool_call_end|>", "<|tool_call_", "(", "1e999",
    ],
    ("deepseek", "none"): [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "f<｜tool▁sep｜>", '{"s": "ж"}', "```", "<｜tool▁call▁end｜>",
        "<｜tool▁", "function<｜tool▁sep｜>f\n```json\n", "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>ж<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
    ],
    ("glm4", "none"): ["f\n", 'f\n{"s": "ж"}', "\nget_weather\n", "get_", '{"a": 1}', "f"],
    ("glm45", "none"): [
        "<tool_call>f\n", "</tool_call>", "<arg_key>s</arg_key>", "<arg_value>ж\n\"</arg_value>\n",
        "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value>", "<arg_key>ж</arg_key>", "<arg_value>", "<arg_",
        "<tool_call>", "f", "</arg_value>",
    ],
    ("qwen3-coder", "none"): [
        "<tool_call>\n<function=f>\n", "<parameter=s>\nж\n</parameter>\n", "</function>\n", "</tool_call>",
        "<function=get_weather>", "<parameter=ж>", "\n</parameter>", "</parameter>", "</",
        "<parameter=a>\n12\n</parameter>",
    ],
    ("gpt-oss", "gpt-oss"): [
        "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant", "<|channel|>final<|message|>", "<|call|>",
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>", '{"s": "ж"}', "<|return|>", "<|message|>",
        " to=functions.f", "<|channel|>commentary<|message|>", "<|channel|>",
        "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>",
    ],
    ("none", "qwen3"): ["<think>", "</think>", "<thi", "\n"],
    ("none", "deepseek-r1"): ["<think>", "</think>", "</thi", "\n"],
    ("none", "mistral"): ["[THINK]", "[/THINK]", "[TH", "\n"],
    ("hermes", "qwen3"): ["<think>", "</think>", f"<tool_call>{JSON_CALL}</tool_call>", "<tool_call>", "</t", *JSON],
}  # fmt: skip


def cut(text: str, sizes: list[int]) -> list[str]:
    """The text in pieces of these sizes, over and over."""
    pieces, start = [], 0
    while start < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[start : start + size])
        start += size
    return pieces


def letters(text: str) -> int:
    """How many letters there are that no format writes itself."""
    return text.count("ж") + text.count("Ж")


@pytest.mark.parametrize("formats", FRAGMENTS, ids="+".join)
def test_the_cut_does_not_matter_and_nothing_is_lost(parse: Any, formats: tuple[str, str]) -> None:
    tools, reasoning = formats
    pieces = st.lists(st.sampled_from([*FRAGMENTS[formats], *FRAGMENTS[formats], *JUNK]), max_size=12)

    @settings(max_examples=150, deadline=None)
    @given(text=pieces.map("".join), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8))
    def law(text: str, sizes: list[int]) -> None:
        whole = parse(text, tools=tools, reasoning=reasoning)
        for pieces in (cut(text, sizes), list(text), ["", *cut(text, [30]), ""]):
            answer = parse(pieces, tools=tools, reasoning=reasoning)
            assert answer.content == whole.content
            assert answer.reasoning == whole.reasoning
            assert [(one.name, one.arguments) for one in answer.calls] == [
                (one.name, one.arguments) for one in whole.calls
            ]
        said = whole.content + whole.reasoning + "".join(one.name + one.arguments for one in whole.calls)
        assert letters(said) == letters(text)
        marked = reasoning != "none" or tools == "gpt-oss"
        assert whole.calls or marked or whole.content == text

    law()


@pytest.mark.parametrize("formats", FRAGMENTS, ids="+".join)
def test_plain_text_passes_at_once(so_far: Any, formats: tuple[str, str]) -> None:
    tools, reasoning = formats
    text = "Plain text, with 1 < 2, an [index] and a {brace}; nothing else."
    answer = so_far(text, tools=tools, reasoning=reasoning)
    assert answer.content + answer.reasoning == text
