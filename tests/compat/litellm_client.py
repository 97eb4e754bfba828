"""What LiteLLM's users do with an OpenAI-compatible server: `python litellm_client.py URL`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched from elsewhere

import litellm

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says what the weather is like in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Zurich", "Bern"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


def main(url: str) -> None:
    """Runs all of it, once as `openai/` and once as `hosted_vllm/`; whatever is not as it should be raises."""
    for provider in ("openai", "hosted_vllm"):
        check(f"{provider}/smollm2", {"api_base": f"{url}/v1", "api_key": "none", "temperature": 0, "num_retries": 0})
    text = litellm.text_completion(
        model="text-completion-openai/smollm2",
        prompt="The capital of France is",
        max_tokens=5,
        api_base=f"{url}/v1",
        api_key="none",
        temperature=0,
    )
    assert "Paris" in text.choices[0].text, text
    print("LiteLLM: chat, streams, tools, structured output, errors, completions")


def check(model: str, server: dict[str, Any]) -> None:
    """One provider's routes."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    ask = {"model": model, "messages": messages, "max_tokens": 24, **server}
    answer = litellm.completion(**ask)
    said = answer.choices[0].message.content
    assert "Paris" in said, answer
    assert answer.usage.prompt_tokens > 10

    chunks = list(litellm.completion(**ask, stream=True, stream_options={"include_usage": True}))
    whole = litellm.stream_chunk_builder(chunks, messages=messages)
    assert whole is not None
    assert whole.choices[0].message.content == said
    assert whole.usage.completion_tokens == answer.usage.completion_tokens

    async def alone() -> str:
        return str((await litellm.acompletion(**ask)).choices[0].message.content)

    assert asyncio.run(alone()) == said

    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        one = {"tools": [WEATHER], "tool_choice": choice, "parallel_tool_calls": False}
        forced = {**ask, **one, "max_tokens": 80}
        called = litellm.completion(**forced)
        arguments = [json.loads(call.function.arguments) for call in called.choices[0].message.tool_calls]
        assert arguments
        assert all(one["city"] in ("Zurich", "Bern") for one in arguments)
        built = litellm.stream_chunk_builder(list(litellm.completion(**forced, stream=True)), messages=messages)
        assert built is not None
        assert [json.loads(call.function.arguments) for call in built.choices[0].message.tool_calls] == arguments

    form = {"type": "json_schema", "json_schema": {"name": "pet", "strict": True, "schema": SCHEMA}}
    pet = litellm.completion(**{**ask, "max_tokens": 40}, response_format=form).choices[0].message.content
    assert json.loads(pet)["kind"] in ("cat", "dog")
    assert isinstance(json.loads(litellm.completion(**ask, response_format=form).choices[0].message.content), dict)

    for wrong, error in (
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, litellm.ContextWindowExceededError),
        ({"top_p": 7}, litellm.BadRequestError),
        ({"model": model + "-unknown"}, litellm.NotFoundError),
    ):
        try:
            litellm.completion(**{**ask, **wrong})
        except error:
            continue
        raise AssertionError(f"no {error.__name__} for {str(wrong)[:80]}")


if __name__ == "__main__":
    main(sys.argv[1])
