"""Tools and reasoning in `POST /v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

URL = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
QWEN = (
    "{% if tools %}Tools: {{ tools | tojson }} Call with <tool_call>.\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.reasoning_content }}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.function.arguments | tojson }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
SAID = (
    "<think>\nThe user… wants wörds.\n</think>\n\nI look.\n"
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Zürich"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Bern"}}\n</tool_call>'
)
MakeSpeaker = Callable[..., Any]
Connect = Callable[[Any], httpx.AsyncClient]


@pytest.fixture
def ask(make_speaker: MakeSpeaker, connect: Connect) -> Callable[..., Any]:
    """Sends one chat request to a model that says `text`; returns the answer and what the engine got."""

    async def send(text: str, template: str = QWEN, setup: dict[str, Any] | None = None, **fields: Any) -> Any:
        app, engine = make_speaker(text, template, **(setup or {}))
        async with connect(app) as http:
            response = await http.post(URL, json={"messages": HI, **fields})
        return response, engine

    return send


def choice_of(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    return choice


def deltas(response: httpx.Response) -> tuple[list[Any], list[str | None]]:
    """The deltas of a stream's only answer that say something, and its finish reasons."""
    *lines, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines]
    return [one["delta"] for one in choices if one["delta"]], [one["finish_reason"] for one in choices]


async def test_calls_reasoning_and_content_are_told_apart(ask: Any) -> None:
    response, _ = await ask(SAID, tools=[WEATHER])
    choice = choice_of(response)
    calls = choice["message"].pop("tool_calls")
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "I look.",
        "refusal": None,
        "reasoning_content": "The user… wants wörds.",
    }
    assert [call["type"] for call in calls] == ["function", "function"]
    assert [call["function"] for call in calls] == [
        {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
        {"name": "get_weather", "arguments": '{"city": "Bern"}'},
    ]
    assert len({call["id"] for call in calls}) == 2


async def test_only_calls_leave_no_content(ask: Any) -> None:
    text = '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>'
    response, _ = await ask(text, tools=[WEATHER])
    assert choice_of(response)["message"]["content"] is None


async def test_a_stream_says_the_same(ask: Any) -> None:
    response, _ = await ask(SAID, tools=[WEATHER], stream=True, temperature=0)
    said, reasons = deltas(response)
    assert said[0] == {"role": "assistant", "content": ""}
    assert reasons[-1] == "tool_calls"
    assert not any(reasons[:-1])
    assert "".join(one.get("reasoning_content", "") for one in said) == "The user… wants wörds."
    assert "".join(one.get("content", "") for one in said) == "I look."
    pieces = [one["tool_calls"][0] for one in said if "tool_calls" in one]
    begins = [piece for piece in pieces if "id" in piece]
    assert [set(piece) for piece in begins] == [{"index", "id", "type", "function"}] * 2
    assert [piece["function"] for piece in begins] == [{"name": "get_weather", "arguments": ""}] * 2
    for index, arguments in enumerate(['{"city": "Zürich"}', '{"city": "Bern"}']):
        rest = [piece for piece in pieces if piece["index"] == index][1:]
        assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in rest)
        assert len(rest) > 5, "arguments come as the model writes them"
        assert "".join(piece["function"]["arguments"] for piece in rest) == arguments


async def test_a_call_that_max_tokens_cuts_short(ask: Any) -> None:
    for stream in (False, True):
        response, _ = await ask(SAID, tools=[WEATHER], max_tokens=SAID.index("rich") + 10, stream=stream)
        if stream:
            assert deltas(response)[1][-1] == "length"
        else:
            choice = choice_of(response)
            assert choice["finish_reason"] == "length"
            assert choice["message"]["tool_calls"][0]["function"]["arguments"].startswith('{"city": "Z')


@pytest.mark.parametrize("stream", [False, True])
async def test_no_rest_of_a_forced_call_that_was_cut_short_is_content(ask: Any, stream: bool) -> None:
    text = '<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>\n<tool_call>\n{"na'
    fields = {"tools": [WEATHER], "stream": stream, "max_tokens": len(text)}
    for choice, content in (("required", ""), ("auto", '\n<tool_call>\n{"na')):
        response, _ = await ask(text, tool_choice=choice, **fields)
        if stream:
            said = "".join(one.get("content", "") for one in deltas(response)[0])
        else:
            said = choice_of(response)["message"]["content"] or ""
        assert said == content


async def test_one_call_at_most(ask: Any) -> None:
    response, _ = await ask(SAID, tools=[WEATHER], parallel_tool_calls=False)
    assert len(choice_of(response)["message"]["tool_calls"]) == 1
    response, _ = await ask(SAID, tools=[WEATHER], parallel_tool_calls=False, stream=True)
    assert {one["tool_calls"][0]["index"] for one in deltas(response)[0] if "tool_calls" in one} == {0}


@pytest.mark.parametrize("fields", [{}, {"tools": []}, {"tools": [WEATHER], "tool_choice": "none"}])
async def test_without_tools_a_call_is_text(ask: Any, fields: dict[str, Any]) -> None:
    response, engine = await ask(SAID, **fields)
    choice = choice_of(response)
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"].count("<tool_call>") == 2
    assert "tool_calls" not in choice["message"]
    assert "Tools:" not in engine.tokenizer.decode(engine.submitted[0].prompt_ids)


async def test_the_template_is_told_of_tools_calls_and_results(ask: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Ulm"}'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    bare = {"function": {"name": "now"}}
    _, engine = await ask("Rain.", messages=messages, tools=[WEATHER, bare])
    prompt = engine.tokenizer.decode(engine.submitted[0].prompt_ids, skip_special_tokens=False)
    listing, rest = prompt.removeprefix("Tools: ").split(" Call with", 1)
    shown = {name: value for name, value in WEATHER["function"].items() if name != "strict"}  # type: ignore[attr-defined]
    nothing = {"type": "object", "properties": {}}
    assert json.loads(listing) == [
        {"type": "function", "function": shown},
        {"type": "function", "function": {"name": "now", "parameters": nothing}},
    ]
    assert '<|im_start|>assistant\nHm.<tool_call>get_weather {"city": "Ulm"}</tool_call><|im_end|>' in rest
    assert "<|im_start|>tool\nrain<|im_end|>" in rest


async def test_a_template_that_wants_arguments_as_text_gets_text(ask: Any) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ '<｜tool▁calls▁begin｜>' + c.function.arguments }}{% endfor %}{% endfor %}"
    )
    function = {"name": "f", "arguments": {"a": 1}}
    messages = [*HI, {"role": "assistant", "tool_calls": [{"function": function}]}]
    response, engine = await ask("Fine.", template, messages=messages)
    assert response.status_code == 200, response.text
    assert engine.tokenizer.decode(engine.submitted[0].prompt_ids).endswith('<｜tool▁calls▁begin｜>{"a": 1}')


async def test_special_tokens_that_a_format_uses_are_read_and_others_left_out(ask: Any) -> None:
    setup = {"special_tokens": ["[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "[OTHER]"]}
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{# [TOOL_CALLS] [THINK] #}"
    text = '[THINK]Hm.[/THINK]I look.[OTHER][TOOL_CALLS]get_weather[ARGS]{"city": "Ulm"}'
    for stream in (False, True):
        response, _ = await ask(text, template, setup, tools=[WEATHER], stream=stream)
        if stream:
            said, _ = deltas(response)
            assert "".join(one.get("content", "") for one in said) == "I look."
        else:
            message = choice_of(response)["message"]
            assert (message["reasoning_content"], message["content"]) == ("Hm.", "I look.")
            assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Ulm"}'}
    response, _ = await ask(text, template, setup)  # nobody looks for calls
    assert choice_of(response)["message"]["content"] == 'I look.get_weather{"city": "Ulm"}'


async def test_gpt_oss_channels(ask: Any) -> None:
    marks = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"]
    template = "{{ messages[0].content }}<|start|>assistant{# <|channel|> <|message|> #}"
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "Ulm"}<|call|>'
    )
    setup = {"special_tokens": marks}
    response, _ = await ask(text, template, setup, tools=[WEATHER])
    message = choice_of(response)["message"]
    assert message["reasoning_content"] == "Hm."
    assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Ulm"}'}
    response, _ = await ask(text, template, setup, separate_reasoning=False)
    assert choice_of(response)["message"]["content"] == 'Hm.{"city": "Ulm"}'


async def test_reasoning_fields(ask: Any) -> None:
    text = "<think>\nHm, hm.\n</think>\n\nHello!"
    response, _ = await ask(text, separate_reasoning=False)
    assert choice_of(response)["message"]["content"] == text
    response, _ = await ask(text, stream=True, stream_reasoning=False)
    said, _ = deltas(response)
    assert [one for one in said if "reasoning_content" in one] == [{"reasoning_content": "Hm, hm."}]
    assert "".join(one.get("content", "") for one in said) == "Hello!"


@pytest.mark.parametrize("fields", [{"enable_thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}])
async def test_thinking_that_the_template_has_closed(ask: Any, fields: dict[str, Any]) -> None:
    response, _ = await ask("<think>Not meant.</think>", **fields)
    message = choice_of(response)["message"]
    assert message["content"] == "<think>Not meant.</think>"
    assert "reasoning_content" not in message


async def test_going_on_with_a_message_goes_on_with_its_reasoning(ask: Any) -> None:
    for begun, reasoning, content in (("<think>Hm", ", hm.", "\nHi"), ("Yes", None, ", hm.</think>\n\n\nHi")):
        messages = [*HI, {"role": "assistant", "content": begun}]
        response, _ = await ask(", hm.</think>\n\n\nHi", messages=messages, continue_final_message=True)
        message = choice_of(response)["message"]
        assert message.get("reasoning_content") == reasoning
        assert message["content"] == (content if reasoning is None else "Hi")


async def test_log_probabilities_come_with_every_token(ask: Any) -> None:
    response, engine = await ask(SAID, tools=[WEATHER], stream=True, logprobs=True)
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: {")]
    entries = [json.loads(line)["choices"][0]["logprobs"] for line in lines]
    assert sum(len(one["content"]) for one in entries if one) == len(engine.say(engine.submitted[0], SAID))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "f"}}}, "tool_choice.function.name", None),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", None),
        ({"tools": [{"function": {"name": ""}}]}, "tools[0].function.name", None),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters", None),
        ({"tools": "f"}, "tools", None),
    ],
)
async def test_what_cannot_be_honoured_is_refused(
    ask: Any, fields: dict[str, Any], param: str, code: str | None
) -> None:
    response, engine = await ask(SAID, **fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert not engine.submitted


@pytest.mark.parametrize("setup", [{"tools": "none"}, {}])
async def test_tools_need_a_format(ask: Any, setup: dict[str, Any]) -> None:
    template = QWEN if setup else "{{ messages[0].content }}"
    response, _ = await ask("Hi", template, setup, tools=[WEATHER])
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "tools")
    assert "--tool-call-parser" in error["message"]
