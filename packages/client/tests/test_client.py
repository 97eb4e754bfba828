"""The sync client against a transport that never reaches a network."""

from __future__ import annotations

import httpx
import pytest

from sgl_jax.client import (
    APIConnectionError,
    APITimeoutError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    RateLimitError,
    SglJax,
)

COMPLETION = {
    "id": "c1",
    "model": "tiny",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop", "matched_stop": 2}
    ],
    "system_fingerprint": "fp",
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}


def test_a_string_is_one_user_message(connect):
    client, server = connect(COMPLETION)
    assert client.chat("Hello!").text == "Hi."
    assert server.requests[-1].url == "http://h/v1/chat/completions"
    assert server.body == {"messages": [{"role": "user", "content": "Hello!"}]}


def test_chat_and_its_long_name_send_the_same(connect):
    client, server = connect(COMPLETION)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    client.chat(messages, max_tokens=5, top_k=3)
    short = server.body
    client.chat.completions.create(messages=messages, max_tokens=5, top_k=3)
    assert server.body == short == {"messages": messages, "max_tokens": 5, "top_k": 3}


def test_an_answer_is_whole(connect):
    client, _ = connect(COMPLETION)
    answer = client.chat("Hello!")
    assert answer.usage.prompt_tokens_details.cached_tokens == 1
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].matched_stop == 2
    assert answer.system_fingerprint == "fp"  # a field that the client does not know


def test_completions(connect):
    client, server = connect({"choices": [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]})
    answer = client.completions.create(prompt=[[1, 2], [3]], echo=True, logprobs=0, max_tokens=0)
    assert [choice.text for choice in answer.choices] == ["a", "b"]
    assert answer.text == "a"
    assert server.body == {"prompt": [[1, 2], [3]], "echo": True, "logprobs": 0, "max_tokens": 0}


@pytest.mark.parametrize(
    ("options", "sent"),
    [({}, {"include_usage": True}), ({"stream_options": {"include_usage": False}}, {"include_usage": False})],
)
def test_streams_count_their_tokens_unless_told_otherwise(options, sent, connect):
    body = 'data: {"choices": [], "usage": {"total_tokens": 5}}\n\ndata: [DONE]\n\n'
    client, server = connect(httpx.Response(200, text=body))
    with client.chat.stream("x", **options) as stream:
        assert stream.get_final_response().usage.total_tokens == 5
    assert server.body["stream_options"] == sent


@pytest.mark.parametrize(
    ("prompt", "field"),
    [("text", "text"), (["a", "b"], "text"), ([1, 2], "input_ids"), ([[1], [2, 3]], "input_ids")],
)
def test_generate_takes_text_and_ids_alone_and_in_batches(prompt, field, connect):
    one = {"text": "x", "output_ids": [7], "meta_info": {"finish_reason": {"type": "stop", "matched": 2}}}
    batch = isinstance(prompt[0], (list, str)) and isinstance(prompt, list)
    client, server = connect([one, one] if batch else one)
    answer = client.generate(prompt, sampling_params={"max_new_tokens": 1})
    assert server.body == {field: prompt, "sampling_params": {"max_new_tokens": 1}}
    first = answer[0] if batch else answer
    assert (first.text, first.output_ids, first.meta_info.finish_reason.matched) == ("x", [7], 2)


def test_a_stream_of_a_batch_is_refused(connect):
    client, server = connect({})
    with pytest.raises(ValueError, match="one prompt"):
        client.generate(["a", "b"], stream=True)
    assert not server.requests


def test_models(connect):
    client, server = connect({"object": "list", "data": [{"id": "a"}, {"id": "b", "max_model_len": 8}]})
    models = client.models.list()
    assert [model.id for model in models] == ["a", "b"]
    assert (len(models), models.data[1].max_model_len) == (2, 8)
    server.answer = {"id": "org/name"}
    assert client.models.retrieve("org/name").id == "org/name"
    assert server.requests[-1].url.path == "/v1/models/org/name"


def test_tokens_of_a_text_and_of_a_conversation(use):
    tokens, server = use(
        {"count": 2, "tokens": [4, 5], "max_model_len": 512}, lambda client: client.tokenize("Hi!", model="tiny")
    )
    assert (tokens.tokens, tokens.count) == ([4, 5], 2)
    assert server.body == {"prompt": "Hi!", "model": "tiny"}
    messages = [{"role": "user", "content": "Hi!"}]
    _, server = use({}, lambda client: client.tokenize(messages, add_generation_prompt=True))
    assert server.body == {"messages": messages, "add_generation_prompt": True}


def test_text_of_a_conversation(use):
    tool = {"type": "function", "function": {"name": "weather"}}
    text, server = use({"prompt": "user: Hi!"}, lambda client: client.apply_template("Hi!", tools=[tool]))
    assert text.text == "user: Hi!"
    assert server.requests[-1].url.path == "/apply_template"
    assert server.body == {"messages": [{"role": "user", "content": "Hi!"}], "tools": [tool]}


def test_text_of_tokens(use):
    text, server = use({"prompt": "Hi!"}, lambda client: client.detokenize((4, 5)))
    assert text.text == "Hi!"
    assert (server.requests[-1].url.path, server.body) == ("/detokenize", {"tokens": [4, 5]})


@pytest.mark.parametrize(
    ("action", "request_line", "body"),
    [
        (lambda admin: admin.server_info(), "GET /get_server_info", None),
        (lambda admin: admin.model_info(), "GET /get_model_info", None),
        (lambda admin: admin.flush_cache(), "POST /flush_cache", {}),
        (lambda admin: admin.abort("mine"), "POST /abort_request", {"rid": "mine"}),
        (lambda admin: admin.abort_all(), "POST /abort_request", {"abort_all": True}),
        (lambda admin: admin.load(), "GET /get_load", None),
        (lambda admin: admin.pause(), "POST /pause_generation", {"mode": "in_place"}),
        (lambda admin: admin.pause("abort"), "POST /pause_generation", {"mode": "abort"}),
        (lambda admin: admin.continue_(), "POST /continue_generation", {}),
        (lambda admin: admin.start_profile(), "POST /start_profile", {}),
        (lambda admin: admin.stop_profile(), "POST /stop_profile", {}),
        (
            lambda admin: admin.load_lora_adapter("poet", "/adapters/poet", pinned=True),
            "POST /load_lora_adapter",
            {"lora_name": "poet", "lora_path": "/adapters/poet", "pinned": True},
        ),
        (lambda admin: admin.unload_lora_adapter("poet"), "POST /unload_lora_adapter", {"lora_name": "poet"}),
    ],
)
def test_routes_of_admins(action, request_line, body, use):
    _, server = use({}, lambda client: action(client.admin))
    request = server.requests[-1]
    assert f"{request.method} {request.url.path}" == request_line
    assert (server.body if request.content else None) == body


def test_answers_for_admins(connect):
    client, server = connect({"version": "1", "phase": "ready", "stats": {"running": 3, "steps_total": 9}})
    info = client.admin.server_info()
    assert (info.phase, info.stats.running, info.stats.steps_total) == ("ready", 3, 9)
    server.answer = {"model_path": "/m", "architecture": "LlamaForCausalLM"}
    assert client.admin.model_info().architecture == "LlamaForCausalLM"
    server.answer = {"aborted": 2}
    assert client.admin.abort("mine").aborted == 2
    server.answer = httpx.Response(200, text="Cache flushed.")  # SGLang says it in words
    assert client.admin.flush_cache().success
    server.answer = {"success": True, "message": "Recording.", "output_dir": "/profiles/1"}
    assert client.admin.start_profile().output_dir == "/profiles/1"
    server.answer = [{"dp_rank": 0, "num_reqs": 3, "num_waiting_reqs": 1, "num_tokens": 64}]
    assert [(load.num_reqs, load.num_waiting_reqs) for load in client.admin.load()] == [(3, 1)]
    server.answer = {"load": 7}  # older servers of SGLang
    assert [load.load for load in client.admin.load()] == [7]
    server.answer = {"success": True, "loaded_adapters": {"poet": "/adapters/poet"}}
    assert client.admin.load_lora_adapter("poet", "/adapters/poet").loaded_adapters == {"poet": "/adapters/poet"}
    server.answer = httpx.Response(404, json={"error": {"message": "There is no route."}})
    with pytest.raises(NotFoundError):
        client.admin.unload_lora_adapter("poet")
    server.answer = httpx.Response(200, text='up{engine="0"} 1\n')
    assert client.admin.metrics()["up"] == 1
    assert server.requests[-1].headers["accept"] == "text/plain"
    server.answer = httpx.Response(200, text="<html>")
    with pytest.raises(InvalidResponseError, match="line 1"):
        client.admin.metrics()


@pytest.mark.parametrize(
    "action",
    [
        lambda client: client.tokenize("x"),
        lambda client: client.detokenize([1]),
        lambda client: client.admin.abort("x"),
        lambda client: client.admin.pause(),
        lambda client: client.admin.continue_(),
    ],
)
def test_what_generates_nothing_is_repeated(action, connect, monkeypatch):
    monkeypatch.setattr("sgl_jax.client._retries.FIRST_DELAY", 0.0)
    client, server = connect((httpx.Response(502), httpx.ReadError("reset"), {}))
    action(client)
    assert len(server.requests) == 3


def test_what_is_refused_the_second_time_is_sent_once(connect):
    client, server = connect(httpx.ReadError("reset"))
    with pytest.raises(APIConnectionError):
        client.admin.start_profile()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("response", "ok", "description"),
    [
        (httpx.Response(200), True, "ready"),
        (httpx.Response(200, json={"status": "ok"}), True, "ok"),
        (httpx.Response(200, json={"status": "ok", "phase": "compiling 3/12"}), True, "compiling 3/12"),
        (httpx.Response(503, json={"phase": {"name": "compiling", "done": 3, "total": 12}}), False, "compiling 3/12"),
        (httpx.Response(503, json={"phase": {"name": "loading"}}), False, "loading"),
        (httpx.Response(503, json={"error": {"message": "The engine is down."}}), False, "The engine is down."),
        (httpx.Response(503, text="no"), False, "starting"),
    ],
)
def test_health_reads_what_servers_say(response, ok, description, connect):
    client, _ = connect(response)
    assert (client.health().ok, client.health().description) == (ok, description)
    assert client.health.ready().ok == ok


def test_refusals_are_repeated_and_then_raised(connect):
    client, server = connect(httpx.Response(429, headers={"retry-after": "0", "x-request-id": "req-9"}, json={}))
    with pytest.raises(RateLimitError) as caught:
        client.chat("Hello!")
    assert len(server.requests) == 3
    assert caught.value.request_id == "req-9"


def test_a_failed_generation_is_not_repeated(connect):
    client, server = connect(httpx.Response(500, json={"error": {"message": "bug"}}))
    with pytest.raises(InternalServerError, match="bug"):
        client.chat("Hello!")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout("slow"), APITimeoutError),
        (httpx.ReadError("reset"), APIConnectionError),
        (httpx.RemoteProtocolError("half an answer"), APIConnectionError),
    ],
)
def test_an_answer_that_does_not_come_is_an_error_with_an_id(error, kind, connect):
    client, server = connect(error)
    with pytest.raises(kind, match="http://h/v1/chat/completions") as caught:
        client.chat("Hello!")
    assert len(server.requests) == 1
    assert caught.value.request_id == server.requests[0].headers["x-request-id"]
    assert caught.value.__cause__ is error


def test_with_options_shares_the_connections(connect):
    client, server = connect(httpx.Response(503, headers={"retry-after": "0"}), default_headers={"x-a": "1"})
    changed = client.with_options(max_retries=0, api_key="key", default_headers={"x-b": "2"})
    with changed, pytest.raises(InternalServerError):
        changed.chat("Hello!")
    assert len(server.requests) == 1
    headers = server.requests[0].headers
    assert (headers["authorization"], headers["x-a"], headers["x-b"]) == ("Bearer key", "1", "2")
    server.answer = COMPLETION
    assert client.chat("still open").text == "Hi."
    assert "authorization" not in server.requests[-1].headers


def test_an_http_client_of_ones_own_stays_open():
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=COMPLETION))
    with httpx.Client(transport=transport) as http:
        with SglJax("http://h", http_client=http) as client:
            client.chat("Hello!")
        assert not http.is_closed


def test_nobody_listens(scripted):
    server = scripted(lambda peer: None)
    url = server.url
    server.stop()
    with SglJax(url, max_retries=0) as client, pytest.raises(APIConnectionError, match="Is the server running"):
        client.chat("Hello!")


def test_a_server_that_never_answers_times_out_and_is_asked_once(scripted):
    server = scripted(lambda peer: peer.wait_until_gone() and server.gone.set())
    with SglJax(server.url, timeout=0.1) as client, pytest.raises(APITimeoutError):
        client.chat("Hello!")
    assert server.gone.wait(20)
    assert server.connections == 1
