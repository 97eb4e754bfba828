"""Chunks add up to the answer that would have come without streaming."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client._accumulate import ChatAccumulator, CompletionAccumulator, GenerateAccumulator
from sgl_jax.client.types import ChatCompletionChunk, Completion, GenerateResponse


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


WHOLE = "".join(chr(ord("a") + number) for number in range(8))


@given(cuts=st.sets(st.integers(0, len(WHOLE)), min_size=1), incremental=st.booleans())
def test_native_events_may_bring_all_or_what_is_new(cuts, incremental):
    """A token a letter; the last event has no token of its own, where the cuts say so."""
    accumulator, said, start = GenerateAccumulator(), "", 0
    for end in (*sorted({*cuts, len(WHOLE)} - {0}), len(WHOLE)):
        first = start if incremental else 0
        ids = list(range(first, end))
        meta = {"completion_tokens": end, "output_token_logprobs": [[-1.0, token, None] for token in ids]}
        event = {"text": WHOLE[first:end], "output_ids": ids, "meta_info": meta}
        said += accumulator.add(GenerateResponse.model_validate(event))
        start = end
    whole = accumulator.result()
    assert said == whole.text == WHOLE
    assert whole.output_ids == [entry[1] for entry in whole.meta_info.output_token_logprobs] == list(range(len(WHOLE)))
    assert whole.meta_info.completion_tokens == len(WHOLE)


def test_native_events_without_ids_bring_all():
    accumulator = GenerateAccumulator()
    for text in ("a", "ab", "abc"):
        accumulator.add(GenerateResponse.model_validate({"text": text, "meta_info": {"completion_tokens": len(text)}}))
    assert accumulator.result().text == "abc"


@given(pieces=st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_texts_of_n_answers_do_not_mix(pieces):
    answer = chat(*({"index": index, "delta": {"content": text}} for index, text in pieces))
    expected = {index: "".join(text for i, text in pieces if i == index) for index in sorted({i for i, _ in pieces})}
    assert {choice.index: choice.message.content for choice in answer.choices} == expected
