"""What LangChain's users do with an OpenAI-compatible server: `python langchain_client.py URL`."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field


class Pet(BaseModel):
    """A pet."""

    kind: Literal["cat", "dog"]
    age: int = Field(ge=0, le=20)


@tool
def get_weather(city: Literal["Zurich", "Bern"], days: int) -> str:
    """Says what the weather is like in a city."""
    return f"Sunny in {city} for {days} days."


def main(url: str) -> None:
    """Runs all of it; whatever is not as it should be raises."""
    server = {"model": "smollm2", "base_url": f"{url}/v1", "api_key": "none", "temperature": 0, "max_retries": 0}
    chat = ChatOpenAI(**server, max_tokens=24, stream_usage=True)
    messages = [SystemMessage("Be brief."), HumanMessage("What is the capital of France?")]
    answer = chat.invoke(messages)
    assert isinstance(answer, AIMessage)
    assert "Paris" in answer.text, answer
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > 10
    assert answer.response_metadata["model_name"] == "smollm2"

    chunks = list(chat.stream(messages))
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert len(chunks) > 2
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.usage_metadata is not None, "stream_usage"
    assert whole.usage_metadata["output_tokens"] == answer.usage_metadata["output_tokens"]

    assert [one.text for one in chat.batch([messages] * 3)] == [answer.text] * 3

    async def together() -> list[str]:
        streamed = "".join([chunk.text async for chunk in chat.astream(messages)])
        return [streamed, (await chat.ainvoke(messages)).text]

    assert asyncio.run(together()) == [answer.text] * 2

    scored = chat.bind(logprobs=True, top_logprobs=2).invoke(messages)
    tokens = [one["token"] for one in scored.response_metadata["logprobs"]["content"]]
    assert "".join(tokens).removesuffix("<|im_end|>") == answer.text, tokens
    assert "of" not in chat.bind(stop=["of"]).invoke(messages).text

    longer = ChatOpenAI(**server, max_tokens=80)
    for method in ("json_schema", "function_calling"):
        pet = longer.with_structured_output(Pet, method=method).invoke("An old cat as JSON.")
        assert isinstance(pet, Pet), pet

    caller = chat.bind_tools([get_weather], tool_choice="any", parallel_tool_calls=False)
    called = caller.invoke("What is the weather like in Zurich, for 3 days?", max_tokens=80)
    (call,) = called.tool_calls
    assert call["name"] == "get_weather"
    assert call["args"]["city"] in ("Zurich", "Bern")
    streamed = None
    for chunk in caller.stream("What is the weather like in Zurich, for 3 days?", max_tokens=80):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    assert [(one["name"], one["args"]) for one in streamed.tool_calls] == [(call["name"], call["args"])]
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    after = chat.bind_tools([get_weather], tool_choice="none").invoke([HumanMessage("Weather?"), called, result])
    assert after.text
    assert not after.tool_calls

    plain = OpenAI(**server, max_tokens=5)
    text = plain.invoke("The capital of France is")
    assert "Paris" in text, text
    assert "".join(plain.stream("The capital of France is")) == text
    assert [one[0].text for one in plain.generate(["The capital of France is"] * 2).generations] == [text] * 2
    print("LangChain: chat, streams, batches, structured output, tools, completions")


if __name__ == "__main__":
    main(sys.argv[1])
