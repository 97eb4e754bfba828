"""`client.embeddings`, `client.score` and `client.rerank`: texts as vectors, judged, and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

from sgl_jax.client._endpoint import Endpoint, Run, json_as
from sgl_jax.client.types.params import Prompt
from sgl_jax.client.types.search import EmbeddingParams, Embeddings, Ranking, RerankParams, ScoreParams, Scores

AnswerT = TypeVar("AnswerT")

EMBEDDINGS = Endpoint("POST", "/v1/embeddings", parse=json_as(Embeddings), repeatable=True)
SCORE = Endpoint("POST", "/v1/score", parse=json_as(Scores), repeatable=True)
RERANK = Endpoint("POST", "/v1/rerank", parse=json_as(Ranking), repeatable=True)


class EmbeddingsOf(Generic[AnswerT]):
    """`client.embeddings.create(input=...)`, as in the `openai` package."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def create(self, *, input: Prompt, **params: Unpack[EmbeddingParams]) -> AnswerT:
        """Makes a vector of a text, or of each of a batch. The server must have been started with `--is-embedding`.

        Raises the errors of `sgl_jax.client`, all of them `SglJaxClientError`s.
        """
        answer: AnswerT = self._run(EMBEDDINGS.call({"input": input, "encoding_format": "base64"}, params))
        return answer


class Score(Generic[AnswerT]):
    """`client.score("Is this a city? ", ["Paris", "Bread"], label_token_ids=[9454, 2753])`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(
        self,
        query: str | list[int],
        items: str | list[str] | list[list[int]],
        *,
        label_token_ids: Sequence[int],
        **params: Unpack[ScoreParams],
    ) -> AnswerT:
        """How likely each label token is to follow the query and an item, for every item.

        Raises the errors of `sgl_jax.client`, all of them `SglJaxClientError`s.
        """
        body = {"query": query, "items": items, "label_token_ids": list(label_token_ids)}
        answer: AnswerT = self._run(SCORE.call(body, params))
        return answer


class Rerank(Generic[AnswerT]):
    """`client.rerank("What is the capital of France?", ["Bread is baked.", "Paris is."])`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(
        self, query: str, documents: Sequence[str | Mapping[str, Any]], **params: Unpack[RerankParams]
    ) -> AnswerT:
        """Sorts documents by how well they answer a query, the best first.

        Raises the errors of `sgl_jax.client`, all of them `SglJaxClientError`s.
        """
        answer: AnswerT = self._run(RERANK.call({"query": query, "documents": list(documents)}, params))
        return answer
