"""Chunks add up to the answer that would have come without streaming."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client._accumulate import ChatAccumulator, CompletionAccumulator
from sgl_jax.client.types import ChatCompletionChunk, Completion


def chat(*choices, **head):
    accumulator = ChatAccumulator()
    for choice in choices:
        accumulator.add(ChatCompletionChunk.model_validate({**head, "choices": [choice]}))
    return accumulator.result()


def test_tool_calls_are_put_together_by_index():
    deltas = [
        {"role": "assistant", "tool_calls": [{"index": 0, "id": "a", "function": {"name": "add", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "sub", "arguments": '{"x"'}}]},
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": "{}"}},
                {"index": 1, "function": {"arguments": ": 1}"}},
            ]
        },
    ]
    message = chat(*({"index": 0, "delta": delta} for delta in deltas)).message
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("a", "add", "{}"),
        ("b", "sub", '{"x": 1}'),
    ]
    assert message.content is None


def test_tool_calls_may_be_numbered_as_the_server_likes():
    message = chat(
        {"index": 0, "delta": {"tool_calls": [{"index": 10**12, "id": "z"}, {"index": -1, "id": "a"}]}}
    ).message
    assert [call.id for call in message.tool_calls] == ["a", "z"]


def test_reasoning_logprobs_and_unknown_fields_are_kept():
    answer = chat(
        {"index": 0, "delta": {"reasoning_content": "hm"}, "logprobs": {"content": [{"token": "h", "logprob": -1}]}},
        {"index": 0, "delta": {"reasoning_content": "m"}, "logprobs": {"content": [{"token": "m", "logprob": -2}]}},
        {
            "index": 0,
            "delta": {"content": "yes"},
            "finish_reason": "stop",
            "matched_stop": 2,
            "message": "odd",
            "text": "odd",
        },
        system_fingerprint="fp",
        message="odd",
    )
    choice = answer.choices[0]
    assert (choice.message.reasoning_content, choice.message.content) == ("hmm", "yes")
    assert [entry.token for entry in choice.logprobs.content] == ["h", "m"]
    assert choice.matched_stop == 2
    assert answer.system_fingerprint == "fp"
    assert answer.text == "yes"


def test_completion_logprobs_add_up():
    accumulator = CompletionAccumulator()
    for token, top in (("a", {"a": -1.0}), ("b", {"b": -2.0})):
        logprobs = {"tokens": [token], "token_logprobs": [-1.0], "top_logprobs": [top], "text_offset": [0]}
        accumulator.add(Completion.model_validate({"choices": [{"text": token, "logprobs": logprobs}]}))
    assert accumulator.result().choices[0].logprobs.top_logprobs == [{"a": -1.0}, {"b": -2.0}]
    assert accumulator.result().choices[0].logprobs.tokens == ["a", "b"]


@given(pieces=st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_texts_of_n_answers_do_not_mix(pieces):
    answer = chat(*({"index": index, "delta": {"content": text}} for index, text in pieces))
    expected = {index: "".join(text for i, text in pieces if i == index) for index in sorted({i for i, _ in pieces})}
    assert {choice.index: choice.message.content for choice in answer.choices} == expected
