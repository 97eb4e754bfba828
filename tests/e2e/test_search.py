"""Label scores and reranking by a real model, beside what the same server says of its own log-probabilities."""

from __future__ import annotations

import math

import httpx
import openai
import pytest

from sgl_jax.client import SglJax

pytestmark = pytest.mark.model

QUESTION = "The capital of France is"


def test_scores_are_the_models_own_probabilities(http: httpx.Client, url: str) -> None:
    greedy = {"max_new_tokens": 3, "temperature": 0}
    body = {"text": QUESTION, "sampling_params": greedy, "return_logprob": True, "logprob_start_len": 0}
    plain = http.post("/generate", json={**body, "top_logprobs_num": 3}).json()
    rivals = plain["meta_info"]["output_top_logprobs"][0]
    labels = [token for _, token, _ in rivals]
    asked = http.post("/generate", json={**body, "token_ids_logprob": labels}).json()
    assert asked["output_ids"] == plain["output_ids"]
    chosen = asked["meta_info"]["output_token_ids_logprobs"]
    assert [len(entries) for entries in chosen] == [3, 3, 3]
    assert [logprob for logprob, _, _ in chosen[0]] == pytest.approx([p for p, _, _ in rivals], abs=1e-4)
    before = asked["meta_info"]["input_token_ids_logprobs"]
    assert before[0] is None
    assert len(before) == asked["meta_info"]["prompt_tokens"]
    with SglJax(url) as client:
        found = client.score(QUESTION, [""], label_token_ids=labels)
        assert found.scores[0] == pytest.approx([math.exp(p) for p, _, _ in rivals], rel=1e-3)


def test_documents_are_sorted(url: str) -> None:
    documents = ["Bread is baked in an oven.", "Paris is the capital of France.", "Cats sleep a lot."]
    with SglJax(url) as client:
        ranking = client.rerank("What is the capital of France?", documents)
        again = client.rerank("What is the capital of France?", documents[::-1], top_n=1)
    scores = [result.relevance_score for result in ranking.results]
    assert sorted(result.index for result in ranking.results) == [0, 1, 2]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    best = ranking.results[0]
    assert documents[best.index] == documents[::-1][again.results[0].index]
    assert again.results[0].relevance_score == pytest.approx(best.relevance_score, rel=1e-3)


def test_a_generating_server_sends_those_who_want_embeddings_away(url: str) -> None:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="--is-embedding"),
    ):
        client.embeddings.create(model="default", input="Hello")
