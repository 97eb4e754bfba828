"""OpenAI's Responses API and Anthropic's Messages API against the live server: the answers that chat gives."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest
from pydantic import BaseModel

pytestmark = pytest.mark.model

MESSAGES: Any = [{"role": "user", "content": "What is gravity?"}]
TOKENS = 12


class Fact(BaseModel):
    known: bool


@pytest.fixture(scope="module")
def answer(http: httpx.Client) -> str:
    """What chat says."""
    said = http.post("/v1/chat/completions", json={"messages": MESSAGES, "temperature": 0, "max_tokens": TOKENS})
    text: str = said.json()["choices"][0]["message"]["content"]
    return text


def test_responses(url: str, model: str, answer: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        whole = client.responses.create(model=model, input=MESSAGES, temperature=0, max_output_tokens=TOKENS)
        assert (whole.output_text, whole.status) == (answer, "incomplete")
        assert whole.usage is not None
        assert whole.usage.output_tokens == TOKENS
        events = list(
            client.responses.create(
                model=model, input=MESSAGES, temperature=0, max_output_tokens=TOKENS, store=False, stream=True
            )
        )
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == answer
        assert events[-1].type == "response.incomplete"
        parsed = client.responses.parse(
            model=model,
            input="Go on.",
            previous_response_id=whole.id,
            text_format=Fact,
            temperature=0,
            max_output_tokens=32,
        )
        assert isinstance(parsed.output_parsed, Fact)


def test_messages(url: str, model: str, answer: str) -> None:
    ask: Any = {"model": model, "messages": MESSAGES, "max_tokens": TOKENS, "extra_body": {"temperature": 0}}
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        whole = client.messages.create(**ask)
        with client.messages.stream(**ask) as stream:
            streamed = stream.get_final_message()
        for message in (whole, streamed):
            assert [block.text for block in message.content if block.type == "text"] == [answer]
            assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", TOKENS)
        counted = client.messages.count_tokens(model=model, messages=MESSAGES)
        usage = streamed.usage
        assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
        assert json.loads(streamed.to_json())["type"] == "message"
