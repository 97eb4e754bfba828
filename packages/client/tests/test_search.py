"""Embeddings, label scores and reranking: what is sent, and what is read."""

from __future__ import annotations

import base64
import struct

import pytest

from sgl_jax.client import AsyncSglJax, InvalidResponseError


def embeddings(*vectors):
    return {"object": "list", "model": "m", "data": list(vectors), "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def packed(*values):
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_embeddings_travel_packed(connect):
    items = [{"index": 0, "embedding": packed(0.5, -0.25)}, {"index": 1, "embedding": [1, 2.5]}]
    client, server = connect(embeddings(*items))
    answer = client.embeddings.create(input=["a", "b"], dimensions=2, truncate_prompt_tokens=-1)
    assert server.requests[-1].url == "http://h/v1/embeddings"
    sent = {"input": ["a", "b"], "encoding_format": "base64", "dimensions": 2, "truncate_prompt_tokens": -1}
    assert server.body == sent
    assert answer.vectors == [[0.5, -0.25], [1.0, 2.5]]
    assert answer.usage.prompt_tokens == 3


@pytest.mark.parametrize("damaged", ["not base64!", base64.b64encode(b"12345").decode(), None])
def test_a_damaged_vector_is_an_error(connect, damaged):
    client, _ = connect(embeddings({"index": 0, "embedding": damaged}))
    with pytest.raises(InvalidResponseError):
        client.embeddings.create(input="a")


def test_scores(connect):
    client, server = connect({"object": "scoring", "scores": [[0.75, 0.25]], "model": "m"})
    answer = client.score("Is it? ", ["Yes"], label_token_ids=(4, 5), apply_softmax=True)
    assert server.body == {"query": "Is it? ", "items": ["Yes"], "label_token_ids": [4, 5], "apply_softmax": True}
    assert answer.scores == [[0.75, 0.25]]


def test_reranking(connect):
    results = [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}, {"index": 0, "relevance_score": 0.1}]
    client, server = connect({"id": "r", "model": "m", "results": results})
    answer = client.rerank("q", ["a", {"text": "b"}], top_n=2)
    assert server.body == {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 2}
    assert [(result.index, result.relevance_score) for result in answer.results] == [(1, 0.9), (0, 0.1)]
    assert answer.results[0].document.text == "b"
    assert answer.results[1].document is None


def test_the_async_client_has_them_too():
    client = AsyncSglJax("http://h")
    assert callable(client.embeddings.create)
    assert callable(client.score)
    assert callable(client.rerank)
