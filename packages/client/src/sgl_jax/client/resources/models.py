"""`client.models`: what the server serves."""

from __future__ import annotations

from typing import Generic, TypeVar, Unpack
from urllib.parse import quote

from sgl_jax.client._endpoint import Endpoint, Run, json_as
from sgl_jax.client.types.params import RequestOptions
from sgl_jax.client.types.server import ModelCard, ModelList

ListT = TypeVar("ListT")
CardT = TypeVar("CardT")

MODELS = Endpoint("GET", "/v1/models", parse=json_as(ModelList))


class Models(Generic[ListT, CardT]):
    """`client.models.list()` and `client.models.retrieve(id)`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def list(self, **options: Unpack[RequestOptions]) -> ListT:
        """All served models."""
        models: ListT = self._run(MODELS.call(params=options))
        return models

    def retrieve(self, model: str, **options: Unpack[RequestOptions]) -> CardT:
        """One served model. Raises `NotFoundError` for an unknown name."""
        endpoint = Endpoint("GET", f"/v1/models/{quote(model)}", parse=json_as(ModelCard))
        card: CardT = self._run(endpoint.call(params=options))
        return card
