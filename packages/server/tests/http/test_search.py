"""`/v1/embeddings`, `/v1/score` and `/v1/rerank`, on an engine that makes its numbers up from the prompts."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.messages import Finish, GenerateRequest, Phase, TokenDelta, TokenLogprobs
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.app import create_app
from sgl_jax.server.context import ServerContext
from sgl_jax.server.limits import Limits
from sgl_jax.server.search import judge

pytestmark = pytest.mark.anyio

MODEL = "org/tiny"
WIDTH = 4


def vector(prompt_ids: Sequence[int], dimensions: int | None = None) -> list[float]:
    """Of length 1; its direction follows the last tokens."""
    values = [float(token % 7 + 1) for token in [*range(WIDTH), *prompt_ids][-WIDTH:]][:dimensions]
    length = math.hypot(*values)
    return [struct.unpack("<f", struct.pack("<f", value / length))[0] for value in values]


def logprob(prompt_ids: Sequence[int], token: int) -> float:
    return -((sum(prompt_ids) + token) % 16) / 8


@pytest.fixture
def search(engine: Any, tokenizer: Tokenizer) -> Callable[..., FastAPI]:
    """Makes an app around `engine`, which embeds unless told otherwise."""

    def say(request: GenerateRequest) -> list[TokenDelta]:
        if request.embedding is not None:
            values = vector(request.prompt_ids, request.embedding.dimensions)
            return [TokenDelta([], Finish(reason="stop"), embedding=struct.pack(f"<{len(values)}f", *values))]
        chosen = [logprob(request.prompt_ids, token) for token in request.sampling.token_ids_logprob]
        return [TokenDelta([0], Finish(reason="length"), logprobs=[TokenLogprobs(-1.0, [], chosen)])]

    def make(*, embeds: bool = True, tokenizer: Tokenizer = tokenizer, **limits: Any) -> FastAPI:
        engine.script = say
        engine.pooling = Pooling() if embeds else None
        return create_app(
            ServerContext(
                engine=engine,
                tokenizer=tokenizer,
                served_model_name=MODEL,
                phase=lambda: Phase("ready"),
                limits=Limits(**limits),
            )
        )

    return make


@pytest.fixture
def yes_or_no() -> Tokenizer:
    """One token a byte, and one each for yes, no and ChatML's marks."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    from sgl_jax.engine.text.tokenizer_parts import TokenizerParts

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("n", "o")]
    words = [*alphabet, *("".join(pair) for pair in merges)]
    backend = Backend(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return Tokenizer(TokenizerParts(backend, None, "<|im_end|>", {}, None))


async def post(
    connect: Callable[[FastAPI], httpx.AsyncClient], app: FastAPI, route: str, body: dict[str, Any]
) -> httpx.Response:
    async with connect(app) as client:
        return await client.post(route, json=body)


@pytest.mark.parametrize("given", ["Hi", ["Hi", "Ho"], [72, 105], [[72, 105], [72]]])
async def test_embeddings_of_every_kind_of_input(search, connect, tokenizer, given) -> None:
    answer = await post(connect, search(), "/v1/embeddings", {"model": MODEL, "input": given})
    assert answer.status_code == 200, answer.text
    one = isinstance(given, str) or isinstance(given[0], int)
    inputs = [given] if one else given
    ids = [tokenizer.encode(item) if isinstance(item, str) else item for item in inputs]
    body = answer.json()
    assert body["object"] == "list"
    assert body["model"] == MODEL
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", n) for n in range(len(ids))]
    assert [item["embedding"] for item in body["data"]] == [vector(one) for one in ids]
    tokens = sum(map(len, ids))
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


async def test_base64_and_fewer_dimensions(search, connect, tokenizer) -> None:
    body = {"input": "Hi", "encoding_format": "base64", "dimensions": 2}
    answer = await post(connect, search(), "/v1/embeddings", body)
    packed = base64.b64decode(answer.json()["data"][0]["embedding"])
    assert list(struct.unpack("<2f", packed)) == vector(tokenizer.encode("Hi"), 2)


async def test_the_openai_sdk(search, connect, tokenizer) -> None:
    """It asks for base64 by itself, and reads numbers out of it."""
    http = connect(search())
    async with openai.AsyncOpenAI(base_url="http://test/v1", api_key="none", http_client=http) as client:
        answer = await client.embeddings.create(model=MODEL, input=["Hi", "Ho"], dimensions=3)
        plain = await client.embeddings.create(model=MODEL, input=[72, 105], encoding_format="float", user="me")
    expected = [vector(tokenizer.encode(text), 3) for text in ("Hi", "Ho")]
    assert [item.embedding for item in answer.data] == expected
    assert plain.data[0].embedding == vector([72, 105])
    assert answer.usage.prompt_tokens == 4


async def test_long_texts_are_refused_or_cut(search, connect, engine) -> None:
    app = search()
    long = {"input": ["Hi", "x" * 600]}
    refused = await post(connect, app, "/v1/embeddings", long)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, "input", "context_length_exceeded")
    assert not engine.submitted
    for asked, length in ((-1, 512), (7, 7)):
        answer = await post(connect, app, "/v1/embeddings", {**long, "truncate_prompt_tokens": asked})
        assert answer.json()["usage"]["prompt_tokens"] == 2 + length
    whole = await post(connect, app, "/v1/embeddings", {"input": "x" * 512})
    assert whole.status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["Hi", 3]}, "input"),
        ({"input": [3, [4]]}, "input"),
        ({"input": [100_000]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": "a\0b"}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": {"text": "Hi"}}, "input"),
        ({}, "input"),
        ({"input": "Hi", "dimensions": 0}, "dimensions"),
        ({"input": "Hi", "dimensions": 5}, "dimensions"),
        ({"input": "Hi", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "Hi", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
    ],
)
async def test_bad_embedding_requests(search, connect, engine, body, param) -> None:
    answer = await post(connect, search(), "/v1/embeddings", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert not engine.submitted


async def test_each_server_says_what_it_was_not_started_for(search, connect) -> None:
    generating = await post(connect, search(embeds=False), "/v1/embeddings", {"input": "Hi"})
    assert generating.status_code == 400
    assert "--is-embedding" in generating.json()["error"]["message"]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "stream": True}),
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "model": MODEL}),
        ("/generate", {"text": "Hi"}),
        ("/v1/score", {"query": "Hi", "items": ["Ho"], "label_token_ids": [1]}),
    ],
)
async def test_an_embedding_server_generates_nothing(search, connect, engine, route, body) -> None:
    answer = await post(connect, search(), route, body)
    assert answer.status_code == 400, answer.text
    assert "is served with --is-embedding" in answer.json()["error"]["message"]
    assert not engine.submitted


async def test_an_embedding_server_is_probed_by_an_embedding(search, connect, engine) -> None:
    async with connect(search()) as client:
        assert (await client.get("/health_generate")).status_code == 200
        assert (await client.get("/get_model_info")).json()["is_generation"] is False
    assert engine.submitted[0].embedding is not None


@pytest.mark.parametrize("item_first", [False, True])
@pytest.mark.parametrize(("query", "items"), [("Is it? ", ["Yes", "No"]), ([72, 105], [[72], [33, 34]])])
async def test_scores_of_labels(search, connect, tokenizer, query, items, item_first) -> None:
    body = {"query": query, "items": items, "label_token_ids": [5, 9], "item_first": item_first, "model": MODEL}
    plain = await post(connect, search(embeds=False), "/v1/score", body)
    assert plain.status_code == 200, plain.text
    softmax = await post(connect, search(embeds=False), "/v1/score", {**body, "apply_softmax": True})
    prompts = [item + query if item_first else query + item for item in items]
    ids = [tokenizer.encode(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    found = [[logprob(prompt, label) for label in (5, 9)] for prompt in ids]
    expected = [[math.exp(value) for value in row] for row in found]
    assert plain.json()["object"] == "scoring"
    assert plain.json()["scores"] == [pytest.approx(row) for row in expected]
    assert softmax.json()["scores"] == [pytest.approx([value / sum(row) for value in row]) for row in expected]
    assert plain.json()["usage"]["prompt_tokens"] == sum(map(len, ids))


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"label_token_ids": []}, "label_token_ids"),
        ({"label_token_ids": [100_000]}, "label_token_ids"),
        ({"label_token_ids": list(range(129))}, "label_token_ids"),
        ({"items": []}, "items"),
        ({"items": [[1]]}, "items"),
        ({"items": ["x" * 600]}, "items"),
        ({"query": 3}, "query"),
    ],
)
async def test_bad_score_requests(search, connect, change, param) -> None:
    body = {"query": "Hi", "items": ["Ho"], "label_token_ids": [1], **change}
    answer = await post(connect, search(embeds=False), "/v1/score", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_long_query_is_not_repeated_without_end(search, connect, engine, yes_or_no) -> None:
    """Small in the body, it would be large before every item."""
    app = search(embeds=False, tokenizer=yes_or_no, max_body_bytes=2000)
    items = ["x"] * 20
    for route, body in (
        ("/v1/score", {"query": "x" * 200, "items": items, "label_token_ids": [1]}),
        ("/v1/rerank", {"query": "x" * 200, "documents": items}),
    ):
        answer = await post(connect, app, route, body)
        assert answer.status_code == 400
        assert "--max-body-bytes" in answer.json()["error"]["message"]
    assert not engine.submitted


DOCUMENTS = ["Bread.", {"text": "Paris!"}, "A cat?"]


async def test_reranking_by_similarity(search, connect, tokenizer) -> None:
    body = {"query": "Where?", "documents": DOCUMENTS, "model": MODEL}
    answer = (await post(connect, search(), "/v1/rerank", body)).json()
    texts = ["Bread.", "Paris!", "A cat?"]
    query = vector(tokenizer.encode("Where?"))
    rows = [vector(tokenizer.encode(text)) for text in texts]
    scores = [sum(a * b for a, b in zip(query, row, strict=True)) for row in rows]
    order = sorted(range(3), key=lambda index: -scores[index])
    assert [result["index"] for result in answer["results"]] == order
    assert [result["document"]["text"] for result in answer["results"]] == [texts[index] for index in order]
    assert [result["relevance_score"] for result in answer["results"]] == pytest.approx(sorted(scores, reverse=True))
    short = await post(connect, search(), "/rerank", {**body, "top_n": 1, "return_documents": False})
    (best,) = short.json()["results"]
    assert best == {"index": order[0], "relevance_score": pytest.approx(scores[order[0]])}


async def test_reranking_by_asking(search, connect, engine, yes_or_no) -> None:
    """Each document in the words that Qwen3-Reranker was trained with; the score is P(yes) against no."""
    app = search(embeds=False, tokenizer=yes_or_no, max_sequences=8)
    body = {"query": "Where?", "documents": ["Bread.", "Paris!"], "instruct": "Find it", "model": MODEL}
    answer = await post(connect, app, "/v1/rerank", body)
    assert answer.status_code == 200, answer.text
    asked = engine.submitted[1]
    text = yes_or_no.decode(asked.prompt_ids, skip_special_tokens=False)
    question = "<Instruct>: Find it\n<Query>: Where?\n<Document>: Paris!"
    assert text == f"{judge.BEFORE}{question}{judge.AFTER}"
    yes, no = asked.sampling.token_ids_logprob
    assert (yes_or_no.id_to_token(yes), yes_or_no.id_to_token(no)) == ("yes", "no")
    found = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    for index, request in enumerate(engine.submitted):
        weights = [math.exp(logprob(request.prompt_ids, token)) for token in (yes, no)]
        assert found[index] == pytest.approx(weights[0] / sum(weights))
    cut = await post(connect, app, "/v1/rerank", {**body, "documents": ["x" * 600], "truncate_prompt_tokens": -1})
    assert cut.json()["usage"]["prompt_tokens"] == 511
    assert yes_or_no.decode(engine.submitted[-1].prompt_ids, skip_special_tokens=False).endswith("xx" + judge.AFTER)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": [""]}, "documents"),
        ({"documents": [{"title": "x"}]}, "documents[0].text"),
        ({"documents": ["x" * 600]}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"query": ""}, "query"),
    ],
)
async def test_bad_rerank_requests(search, connect, change, param) -> None:
    answer = await post(connect, search(), "/v1/rerank", {"query": "Hi", "documents": ["Ho"], **change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_model_that_cannot_be_asked_says_so(search, connect) -> None:
    answer = await post(connect, search(embeds=False), "/v1/rerank", {"query": "Hi", "documents": ["Ho"]})
    assert answer.status_code == 400
    assert "Qwen3-Reranker" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "embeds"),
    [
        ("/v1/embeddings", {"input": "Hi"}, True),
        ("/v1/score", {"query": "Hi", "items": ["a", "b"], "label_token_ids": [1]}, False),
        ("/rerank", {"query": "Hi", "documents": ["a"]}, True),
    ],
)
async def test_an_aborted_request_is_no_answer(search, connect, engine, path, body, embeds) -> None:
    app = search(embeds=embeds)
    engine.script = lambda request: [asyncio.Event()]
    async with connect(app) as http:
        asked = asyncio.create_task(http.post(path, json=body))
        while not engine.submitted:
            await asyncio.sleep(0)
        assert (await http.post("/abort_request", json={"abort_all": True})).json()["aborted"] > 0
        answer = await asked
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "aborted")


async def test_chosen_tokens_of_native_answers(search, connect, engine, tokenizer) -> None:
    app = search(embeds=False)
    body = {"text": ["Hi", "Ho"], "return_logprob": True, "token_ids_logprob": [5, 9]}
    answer = await post(connect, app, "/generate", body)
    assert answer.status_code == 200, answer.text
    for one, text in zip(answer.json(), ("Hi", "Ho"), strict=True):
        expected = [[logprob(tokenizer.encode(text), token), token, None] for token in (5, 9)]
        assert one["meta_info"]["output_token_ids_logprobs"] == [expected]
        assert one["meta_info"]["input_token_ids_logprobs"] == []
    own = await post(connect, app, "/generate", {**body, "token_ids_logprob": [[5], [9, 3]]})
    assert [len(one["meta_info"]["output_token_ids_logprobs"][0]) for one in own.json()] == [1, 2]
    silent = await post(connect, app, "/generate", {"text": "Hi", "token_ids_logprob": [5]})
    assert "output_token_ids_logprobs" not in silent.json()["meta_info"]
    for wrong in ([[5]], [5, [9]], [100_000]):
        refused = await post(connect, app, "/generate", {**body, "token_ids_logprob": wrong})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "token_ids_logprob")
