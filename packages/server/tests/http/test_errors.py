"""Every mistake gets its status and the one error shape; none gets a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Finish, Phase, TokenDelta

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
JSON = {"content-type": "application/json"}


def check_shape(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error object, after a look at its shape."""
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"]
    body = response.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return error


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10**9}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a\0b"]}, "stop"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"stop_token_ids": [10**9]}, "stop_token_ids"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": 2}, "logprobs"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"five": 1}}, "logit_bias"),
        ({"logit_bias": {"5.0": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(385)}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "poem"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "json_object"}, "regex": "a+"}, "regex"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs.regex"),
        ({"regex": "a" * 300_000}, "regex"),
        ({"json_schema": "[" * 100}, "json_schema"),
        ({"guided_json": 5}, "guided_json"),
        ({"choice": "a"}, "choice"),
        ({"regex": "a", "min_tokens": 5}, "min_tokens"),
        ({"lora_path": "x"}, "lora_path"),
        ({"cache_salt": "x" * 257}, "cache_salt"),
        ({"priority": 2**40}, "priority"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 3, "max_tokens": 2}, "min_tokens"),
        ({"min_tokens": 10**6}, "min_tokens"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 600}]}, "messages"),
        ({"stream": "yes"}, "stream"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_bad_chat_fields(
    http: httpx.AsyncClient, engine: Any, fields: dict[str, Any], param: str, stream: bool
) -> None:
    error = check_shape(await http.post(CHAT, json={"messages": HI, "stream": stream, **fields}), 400)
    assert error["param"] == param
    assert param.split(".")[-1].split("[")[0] in error["message"] or "prompt" in error["message"]
    assert not engine.submitted


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": ""}, "prompt"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [[]]}, "prompt"),
        ("/v1/completions", {"prompt": ["a", 1]}, "prompt"),
        ("/v1/completions", {"prompt": [1, [2]]}, "prompt"),
        ("/v1/completions", {"prompt": [-1]}, "prompt"),
        ("/v1/completions", {"prompt": [10**6]}, "prompt"),
        ("/v1/completions", {"prompt": [True]}, "prompt[0]"),
        ("/v1/completions", {"prompt": None}, "prompt"),
        ("/v1/completions", {"prompt": "a", "suffix": "b"}, "suffix"),
        ("/v1/completions", {"prompt": "a", "best_of": 0}, "best_of"),
        ("/v1/completions", {"prompt": "a", "max_tokens": 512}, "max_tokens"),
        ("/v1/completions", {"prompt": ["a"] * 5000}, "n"),
        ("/generate", {}, "text"),
        ("/generate", {"text": "a", "input_ids": [1]}, "text"),
        ("/generate", {"text": []}, "text"),
        ("/generate", {"input_ids": []}, "input_ids"),
        ("/generate", {"input_ids": [1, [2]]}, "input_ids"),
        ("/generate", {"input_ids": [-5]}, "input_ids"),
        ("/generate", {"text": "a", "sampling_params": {"max_new_tokens": -1}}, "sampling_params.max_new_tokens"),
        ("/generate", {"text": "a", "sampling_params": {"max_new_tokens": 600}}, "sampling_params.max_new_tokens"),
        ("/generate", {"text": "a", "sampling_params": {"top_p": 0}}, "sampling_params.top_p"),
        ("/generate", {"text": ["a"], "sampling_params": [{"top_p": 0}]}, "sampling_params[0].top_p"),
        ("/generate", {"text": ["a"], "sampling_params": []}, "sampling_params"),
        ("/generate", {"text": "a", "sampling_params": {"regex": "a", "ebnf": "b"}}, "sampling_params.ebnf"),
        ("/generate", {"text": ["a"], "sampling_params": [{"json_schema": 1}]}, "sampling_params[0].json_schema"),
        ("/generate", {"text": "a", "sampling_params": {"frequency_penalty": 3}}, "sampling_params.frequency_penalty"),
        ("/generate", {"text": ["a"], "sampling_params": [{"logit_bias": {"x": 3}}]}, "sampling_params[0].logit_bias"),
        ("/generate", {"text": "a", "sampling_params": {"min_new_tokens": 600}}, "sampling_params.min_new_tokens"),
        ("/generate", {"text": "a", "logprob_start_len": -2}, "logprob_start_len"),
        ("/generate", {"text": ["a", "b"], "return_logprob": [True]}, "return_logprob"),
        ("/generate", {"text": "a", "top_logprobs_num": [1, 2]}, "top_logprobs_num"),
        ("/generate", {"text": ["a"], "logprob_start_len": [-2]}, "logprob_start_len[0]"),
        ("/generate", {"text": "a", "sampling_params": {"stop_regex": "a+"}}, "sampling_params.stop_regex"),
        ("/generate", {"text": "a", "sampling_params": {"stream_interval": 8}}, "sampling_params.stream_interval"),
        ("/generate", {"text": "a", "return_logprob": True, "token_ids_logprob": [10**6]}, "token_ids_logprob"),
        ("/generate", {"text": "a", "lora_path": "x"}, "lora_path"),
        ("/generate", {"text": ["a", "b"], "rid": ["x"]}, "rid"),
        ("/abort_request", {}, "rid"),
        ("/tokenize", {}, "prompt"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [2**40]}, "tokens"),
    ],
)
async def test_bad_fields_elsewhere(
    http: httpx.AsyncClient, engine: Any, path: str, body: dict[str, Any], param: str
) -> None:
    error = check_shape(await http.post(path, json=body), 400)
    assert error["param"] == param
    assert not engine.submitted


async def test_a_missing_field_is_named(http: httpx.AsyncClient) -> None:
    error = check_shape(await http.post("/v1/completions", json={}), 400)
    assert (error["message"], error["param"]) == ("prompt is missing.", "prompt")
    nested = {"messages": HI, "tools": [{"type": "function", "function": {}}]}
    error = check_shape(await http.post(CHAT, json=nested), 400)
    assert (error["message"], error["param"]) == ("tools[0].function.name is missing.", "tools[0].function.name")


@pytest.mark.parametrize(
    ("path", "body", "param", "values"),
    [
        (CHAT, {"messages": [{"role": "narrator", "content": "Hi"}]}, "messages[0].role", '"tool" or "user"'),
        (CHAT, {"messages": HI, "response_format": {"type": "x"}}, "response_format.type", '"json_object", '),
        (CHAT, {"messages": HI, "tool_choice": "x"}, "tool_choice", '"auto", "none" or "required"'),
        ("/v1/responses", {"input": "Hi", "text": {"format": {"type": "x"}}}, "text.format.type", '"json_schema"'),
        ("/pause_generation", {"mode": "retract"}, "mode", '"abort" or "in_place"'),
    ],
)
async def test_a_wrong_choice_is_told_the_right_ones(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], param: str, values: str
) -> None:
    error = check_shape(await http.post(path, json=body), 400)
    assert error["param"] == param
    assert values in error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_what_is_no_number_is_called_so(http: httpx.AsyncClient, number: str) -> None:
    body = f'{{"prompt": "NaN: ok", "temperature": {number}}}'
    error = check_shape(await http.post("/v1/completions", content=body, headers=JSON), 400)
    assert "NaN and Infinity are no numbers in JSON" in error["message"]


async def test_an_unknown_sampling_parameter_names_the_nearest(http: httpx.AsyncClient) -> None:
    body = {"text": "Hi", "sampling_params": {"temprature": 0}}
    error = check_shape(await http.post("/generate", json=body), 400)
    assert error["param"] == "sampling_params.temprature"
    assert "'temperature'" in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"messages": [}',
        b'{"temperature": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": 1e999}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xff"}',
        b'{"chat_template_kwargs": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b'{"unknown": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 1_000_000,
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/generate", "/tokenize", "/detokenize", "/abort_request"])
async def test_bodies_that_are_no_json(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    check_shape(await http.post(path, content=body, headers=JSON), 400)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["messages", "prompt", "text", "input_ids", "sampling_params", "stop", "n", "temperature", "stream_options"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
def test_no_input_makes_a_500(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], fields: dict[str, Any]
) -> None:
    async def send() -> None:
        async with connect(make_app()) as client:
            for path in (CHAT, "/v1/completions", "/generate"):
                response = await client.post(path, json=fields)
                assert response.status_code in (200, 400), response.text

    asyncio.run(send())


async def test_prompt_too_long_has_its_code(http: httpx.AsyncClient) -> None:
    error = check_shape(await http.post("/v1/completions", json={"prompt": "x" * 512}), 400)
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": [5] * 512, "max_tokens": 0, "echo": True}),
        ("/generate", {"input_ids": [5] * 512, "sampling_params": {"max_new_tokens": 0}}),
    ],
)
async def test_a_prompt_without_an_answer_may_fill_the_window(
    http: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    assert (await http.post(path, json=body)).status_code == 200
    prompt = "prompt" if "prompt" in body else "input_ids"
    error = check_shape(await http.post(path, json={**body, prompt: [5] * 513}), 400)
    assert (error["param"], error["code"]) == (prompt, "context_length_exceeded")


async def test_unknown_model(http: httpx.AsyncClient) -> None:
    error = check_shape(await http.post(CHAT, json={"model": "gpt-4", "messages": HI}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    check_shape(await http.get("/v1/models/gpt-4"), 404)


@pytest.mark.parametrize("model", [None, "", "default", "org/tiny"])
async def test_names_of_the_served_model(http: httpx.AsyncClient, model: str | None) -> None:
    assert (await http.post(CHAT, json={"model": model, "messages": HI})).status_code == 200


async def test_unknown_route_wrong_method_and_media_type(http: httpx.AsyncClient) -> None:
    assert check_shape(await http.get("/v2/models"), 404)["code"] == "route_not_found"
    response = await http.get(CHAT)
    check_shape(response, 405)
    assert response.headers["allow"] == "POST"
    response = await http.delete("/generate")
    assert response.headers["allow"] == "POST, PUT"
    assert "use POST, PUT" in check_shape(response, 405)["message"]
    check_shape(await http.post(CHAT, content=b"a=b", headers={"content-type": "text/plain"}), 415)
    check_shape(await http.post(CHAT, content=b"{}", headers={**JSON, "content-encoding": "gzip"}), 415)


async def test_a_body_over_the_limit_is_refused_declared_or_not(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient]
) -> None:
    async def unannounced() -> Any:
        for _ in range(3):
            yield b" " * 500

    async with connect(make_app(max_body_bytes=1000)) as client:
        check_shape(await client.post(CHAT, content=b" " * 1001, headers=JSON), 413)
        check_shape(await client.post(CHAT, content=unannounced(), headers=JSON), 413)


async def test_a_slow_body_is_refused(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient]
) -> None:
    async def endless() -> Any:
        yield b"{"
        await asyncio.sleep(60)

    async with connect(make_app(body_seconds=0.01)) as client:
        check_shape(await client.post(CHAT, content=endless(), headers=JSON), 408)


async def test_unknown_fields_are_ignored_with_one_warning(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert (await http.post(CHAT, json={"messages": HI, "temprature": 1})).status_code == 200
    warnings = [record for record in caplog.records if "temprature" in record.getMessage()]
    assert len(warnings) == 1


async def test_strict_fields_refuses_unknown_ones(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient]
) -> None:
    async with connect(make_app(strict_fields=True)) as client:
        error = check_shape(await client.post(CHAT, json={"messages": HI, "temprature": 1}), 400)
    assert error["param"] == "temprature"
    assert "'temperature'" in error["message"]


async def test_what_no_idle_engine_would_take_is_no_matter_of_time(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], engine: Any
) -> None:
    most = engine.info().max_running_requests + 2
    async with connect(make_app(queued_sequences=2)) as client:
        body = {"text": "Hi", "sampling_params": {"n": most, "max_new_tokens": 1}}
        assert (await client.post("/generate", json=body)).status_code == 200
        body["sampling_params"]["n"] += 1
        error = check_shape(await client.post("/generate", json=body), 400)
    assert str(most) in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("invalid_request", 400, None),
        ("context_length", 400, "context_length_exceeded"),
        ("queue_full", 429, "queue_full"),
        ("engine_dead", 503, "unavailable"),
        ("internal", 500, "internal"),
    ],
)
async def test_a_refusal_by_the_engine_keeps_its_status(
    http: httpx.AsyncClient, engine: Any, code: str, status: int, said: str | None, stream: bool
) -> None:
    finish = Finish(reason="error", code=code, message="max_new_tokens=9 is too much.", param="max_new_tokens")
    engine.script = lambda request: [TokenDelta([], finish)]
    response = await http.post(CHAT, json={"messages": HI, "stream": stream})
    error = check_shape(response, status)
    assert error["code"] == said
    assert ("retry-after" in response.headers) == (status in (429, 503))
    if status == 400:
        assert error["param"] == "max_tokens"
        assert error["message"] == "max_tokens=9 is too much."


async def test_a_failure_in_mid_stream_is_one_event(http: httpx.AsyncClient, engine: Any) -> None:
    engine.script = lambda request: [*engine.say(request)[:5], EngineDeadError("It fell over.")]
    response = await http.post(CHAT, json={"messages": HI, "stream": True})
    assert response.status_code == 200
    *chunks, last = [json.loads(line[6:]) for line in response.text.split("\n\n") if line]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "Hello"
    assert last["error"]["message"] == "It fell over."
    assert "[DONE]" not in response.text


async def test_one_failed_sibling_ends_the_others(http: httpx.AsyncClient, engine: Any) -> None:
    gate = asyncio.Event()
    engine.script = lambda request: [EngineDeadError("It fell over.")] if request.request_id.endswith("-1") else [gate]
    check_shape(await http.post(CHAT, json={"messages": HI, "n": 3}), 503)
    assert sorted(name[-2:] for name in engine.aborted) == ["-0", "-1", "-2"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    http: httpx.AsyncClient, engine: Any, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    engine.script = lambda request: [ZeroDivisionError("secret")]
    response = await http.post(CHAT, json={"messages": HI, "stream": stream}, headers={"x-request-id": "r-1"})
    error = check_shape(response, 500)
    assert "secret" not in error["message"]
    assert any("r-1" in record.getMessage() for record in caplog.records)


async def test_starting_engines_are_not_asked(http: httpx.AsyncClient, phase: list[Phase], engine: Any) -> None:
    phase[0] = Phase("compiling", 3, 12)
    for path in (CHAT, "/v1/completions", "/generate"):
        response = await http.post(path, json={})
        assert "compiling 3/12" in check_shape(response, 503)["message"]
        assert response.headers["retry-after"]
    assert not engine.submitted


async def test_a_dead_engine_is_a_503(http: httpx.AsyncClient, engine: Any) -> None:
    engine.dead = True
    check_shape(await http.post(CHAT, json={"messages": HI}), 503)


async def test_a_model_without_template_says_so(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient]
) -> None:
    async with connect(make_app(template=False)) as client:
        assert "--chat-template" in check_shape(await client.post(CHAT, json={"messages": HI}), 400)["message"]


async def test_the_callers_request_id_comes_back_if_it_is_sane(http: httpx.AsyncClient) -> None:
    assert (await http.get("/ping", headers={"x-request-id": "abc"})).headers["x-request-id"] == "abc"
    assert (await http.get("/ping", headers={"x-request-id": "x" * 500})).headers["x-request-id"] != "x" * 500
