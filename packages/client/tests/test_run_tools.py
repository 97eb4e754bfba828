"""The conversation of a model with its tools, for both clients."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from sgl_jax.client import AsyncSglJax, RateLimitError, ToolLimitError, TruncatedAnswerError
from sgl_jax.client.tools import Tool, ToolError


def weather(city: str) -> dict[str, object]:
    """Tells the weather."""
    if city == "Atlantis":
        raise ToolError("there is no such city")
    return {"city": city, "sunny": True}


ROME = ("weather", '{"city": "Rome"}')


def ask(**options):
    return lambda client: client.chat.run_tools("How is it?", **{"tools": [weather], **options})


def test_a_tool_is_called_and_its_result_told(use, calls, says):
    run, server = use((calls(ROME), says("Sunny.")), ask(temperature=0))
    assert (run.text, run.turns, run.usage.total_tokens) == ("Sunny.", 2, 10)
    first, second = server.bodies
    assert first["tools"] == second["tools"] == [Tool.of(weather).definition]
    assert first["temperature"] == second["temperature"] == 0
    assert second["messages"] == [
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "tool_calls": calls(ROME)["choices"][0]["message"]["tool_calls"]},
        {"role": "tool", "tool_call_id": "call-0", "content": '{"city":"Rome","sunny":true}'},
    ]
    assert len(run.messages) == 4
    assert run.messages[-1].text == "Sunny."


def test_no_tool_is_wanted(use, says):
    run, server = use(says("Hello."), ask())
    assert (run.text, run.turns, len(server.requests)) == ("Hello.", 1, 1)


def test_several_calls_in_one_answer_are_answered_in_their_order(use, calls, says):
    wanted = calls(ROME, ("weather", '{"city": "Oslo"}'))
    _, server = use((wanted, says("Fine.")), ask())
    told = server.body["messages"][2:]
    assert [message["tool_call_id"] for message in told] == ["call-0", "call-1"]
    assert ["Rome" in told[0]["content"], "Oslo" in told[1]["content"]] == [True, True]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("weather", '{"city": "Atlantis"}'), "Error: there is no such city"),
        (("weather", '{"town": "Rome"}'), "Error: city: Field required; town: Extra inputs are not permitted"),
        (("forecast", "{}"), "Error: there is no tool 'forecast'; there are weather"),
    ],
)
def test_mistakes_are_told_to_the_model(wanted, told, use, calls, says):
    run, server = use((calls(wanted), says("Sorry.")), ask())
    assert run.text == "Sorry."
    assert server.body["messages"][-1]["content"] == told


def test_a_bug_in_a_tool_is_the_callers_to_see(use, calls):
    def broken() -> str:
        """Breaks."""
        return {}["no"]

    with pytest.raises(KeyError, match="no"):
        use((calls(("broken", "{}")),), ask(tools=[broken]))


def test_turns_have_a_limit(use, calls):
    with pytest.raises(ToolLimitError, match="after 3 turns") as caught:
        use((calls(ROME),) * 4, ask(max_turns=3))
    assert len(caught.value.messages) == 7  # the question, and three times an answer and its tool's result
    assert caught.value.completion.message.tool_calls
    assert caught.value.request_id


def test_half_a_call_is_an_error(use, calls):
    with pytest.raises(TruncatedAnswerError):
        use((calls(("weather", '{"ci'), finish_reason="length"),), ask())


@pytest.mark.parametrize(
    ("choice", "later"),
    [(None, None), ("auto", "auto"), ("none", "none"), ("required", "auto"), ({"type": "function"}, "auto")],
)
def test_a_call_is_demanded_once(choice, later, connect, calls, says):
    client, server = connect((calls(ROME), says("Fine.")))
    client.chat.run_tools("x", tools=[weather], tool_choice=choice)
    assert [body.get("tool_choice") for body in server.bodies] == [choice, later]


def test_errors_of_the_server_end_it(use, calls):
    with pytest.raises(RateLimitError):
        use((calls(ROME), httpx.Response(429)), ask(), max_retries=0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_turns": 0}, ValueError),
        ({"tools": [weather, weather]}, ValueError),
        ({"tools": [lambda city: city]}, TypeError),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(options, error, connect):
    client, server = connect({})
    with pytest.raises(error):
        ask(**options)(client)
    assert not server.requests


def test_async_tools_run_side_by_side(calls, says):
    answers = [calls(("meet", '{"name": "a"}'), ("meet", '{"name": "b"}')), says("Met.")]
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answers.pop(0)))

    async def main():
        both = asyncio.Barrier(2)

        async def meet(name: str) -> str:
            """Waits for the other one."""
            await asyncio.wait_for(both.wait(), 20)
            return name

        async with AsyncSglJax("http://h", transport=transport) as client:
            return await client.chat.run_tools("x", tools=[meet])

    run = asyncio.run(main())
    assert [message["content"] for message in run.messages[2:4]] == ["a", "b"]
