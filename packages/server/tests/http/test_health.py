"""Liveness, readiness, and what the server says about itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.engine.messages import ControlReply, Phase, TokenDelta

pytestmark = pytest.mark.anyio


async def test_a_starting_server_is_healthy_but_not_ready(http: httpx.AsyncClient, phase: list[Phase]) -> None:
    phase[0] = Phase("compiling", 3, 12)
    health = await http.get("/health")
    assert health.status_code == 200
    assert health.json() == {"status": "starting", "phase": "compiling 3/12"}
    for path in ("/readyz", "/ping", "/health_generate", "/get_model_info", "/get_server_info"):
        response = await http.get(path)
        assert response.status_code == 503
        assert response.headers["retry-after"]
    models = (await http.get("/v1/models")).json()["data"]
    assert [(model["id"], model["max_model_len"]) for model in models] == [("org/tiny", None)]


async def test_a_ready_server(http: httpx.AsyncClient, engine: Any) -> None:
    for path in ("/health", "/readyz", "/ping", "/health_generate"):
        response = await http.get(path)
        assert response.status_code == 200
        assert response.json() == {"status": "ok", "phase": "ready"}
    for path in ("/health", "/readyz", "/ping"):
        response = await http.head(path)
        assert (response.status_code, response.content) == (200, b"")
    assert [request.sampling.max_new_tokens for request in engine.submitted] == [1]


@pytest.mark.parametrize("name", ["ready", "dead"])
async def test_a_dead_engine_is_not_healthy(
    http: httpx.AsyncClient, engine: Any, phase: list[Phase], name: Any
) -> None:
    engine.dead, phase[0] = True, Phase(name)
    health = await http.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "dead"
    for path in ("/readyz", "/ping", "/health_generate", "/flush_cache", "/get_model_info"):
        refused = await http.get(path)
        assert refused.status_code == 503
        assert refused.json()["error"]["message"] == "The engine is dead."


async def test_health_generate_gives_up_in_time(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], engine: Any
) -> None:
    engine.script = lambda request: [asyncio.Event()]
    async with connect(make_app(health_seconds=0.01)) as client:
        assert (await client.get("/health_generate")).status_code == 503
    assert engine.aborted == [engine.submitted[0].request_id]


async def test_health_generate_counts_other_requests_tokens(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], engine: Any
) -> None:
    def busy(request: Any) -> list[Any]:
        engine.generated += 1
        return [asyncio.Event()]

    engine.script = busy
    async with connect(make_app(health_seconds=0.01)) as client:
        assert (await client.get("/health_generate")).status_code == 200


async def test_health_generate_wants_a_real_token(http: httpx.AsyncClient, engine: Any) -> None:
    engine.script = lambda request: [TokenDelta([], engine.say(request)[-1].finish)]
    assert (await http.get("/health_generate")).status_code == 503


async def test_models(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert listed["object"] == "list"
    (card,) = listed["data"]
    assert (card["id"], card["object"], card["max_model_len"], card["owned_by"]) == (
        "org/tiny", "model", 512, "sgl-jax",
    )  # fmt: skip
    assert (await http.get("/v1/models/org/tiny")).json() == card


async def test_facts(http: httpx.AsyncClient) -> None:
    assert (await http.get("/version")).json()["version"]
    model = (await http.get("/get_model_info")).json()
    assert model["model_path"] == "/models/tiny"
    assert model["is_generation"] is True
    server = (await http.get("/get_server_info")).json()
    assert server["engine"]["max_model_len"] == 512
    assert server["stats"]["generated_tokens_total"] == 0
    assert server["stats"]["compiles_after_warmup"] == 0


async def test_the_load_for_a_router(http: httpx.AsyncClient) -> None:
    load = (await http.get("/get_load")).json()
    assert load == [{"dp_rank": 0, "num_reqs": 0, "num_waiting_reqs": 0, "num_tokens": 1024}]


@pytest.mark.parametrize("path", ["/get_load", "/get_server_info"])
async def test_counters_that_do_not_come_are_not_made_up(
    http: httpx.AsyncClient, engine: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def no_stats(verb: str) -> ControlReply:
        return ControlReply(control_id="0", error="it is busy")

    monkeypatch.setattr(engine, "control", no_stats)
    refused = await http.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert "it is busy" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"]


async def test_the_template_is_applied(http: httpx.AsyncClient) -> None:
    conversation = {"messages": [{"role": "user", "content": "Hi"}]}
    text = (await http.post("/apply_template", json=conversation)).json()["prompt"]
    tokens = (await http.post("/tokenize", json=conversation)).json()["tokens"]
    assert "Hi" in text
    assert (await http.post("/detokenize", json={"tokens": tokens})).json() == {"prompt": text}
    assert (await http.post("/apply_template", json={"messages": []})).status_code == 400


async def test_the_template_hears_of_tools(make_speaker: Callable[..., tuple[FastAPI, Any]], connect: Any) -> None:
    template = "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}{{ messages[0].content }}"
    app, _ = make_speaker("", template)
    tool = {"type": "function", "function": {"name": "weather"}}
    asked = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
    async with connect(app) as client:
        assert (await client.post("/apply_template", json=asked)).json() == {"prompt": "weather;Hi"}
        assert (await client.post("/tokenize", json=asked)).json()["count"] == len("weather;Hi")


async def test_tokenize_and_back(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/tokenize", json={"prompt": "Hé", "return_token_strs": True})).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"]) == 3
    assert answer["max_model_len"] == 512
    assert (await http.post("/detokenize", json={"tokens": answer["tokens"]})).json() == {"prompt": "Hé"}
    assert (await http.post("/tokenize", json={"prompt": ""})).json()["tokens"] == []
    assert (await http.post("/detokenize", json={"tokens": []})).json() == {"prompt": ""}


async def test_the_tokenizer_shows_what_prompts_are_written_with(http: httpx.AsyncClient, tokenizer: Any) -> None:
    assert (await http.get("/tokenizer_info")).json() == {
        "tokenizer_class": "Tokenizer",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": None,
        "chat_template": tokenizer.chat_template,
    }


async def test_long_texts_are_tokenized_and_back(http: httpx.AsyncClient) -> None:
    text = "Hé👩‍🚀 " * 1000
    answer = (await http.post("/tokenize", json={"prompt": text, "return_token_strs": True})).json()
    assert answer["count"] == len(answer["token_strs"]) == len(text.encode())
    assert (await http.post("/detokenize", json={"tokens": answer["tokens"]})).json() == {"prompt": text}


async def test_tokenize_renders_messages(http: httpx.AsyncClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": False}
    tokens = (await http.post("/tokenize", json=body)).json()["tokens"]
    text = (await http.post("/detokenize", json={"tokens": tokens})).json()["prompt"]
    assert text == "<|im_start|>user\nHi<|im_end|>\n"
