"""`client.generate`: SGLang's native endpoint, which speaks of token ids and says more about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeAlias, TypeVar, Unpack, overload

from pydantic import TypeAdapter

from sgl_jax.client._accumulate import GenerateAccumulator
from sgl_jax.client._async_stream import AsyncStream
from sgl_jax.client._endpoint import Endpoint, Run, StreamKind
from sgl_jax.client._requests import Reply
from sgl_jax.client._stream import Stream
from sgl_jax.client.types.generate import GenerateResponse
from sgl_jax.client.types.params import GenerateParams

OneT = TypeVar("OneT")
ManyT = TypeVar("ManyT")
StreamT = TypeVar("StreamT")

One: TypeAlias = str | list[int]
Many: TypeAlias = list[str] | list[list[int]]

GenerateStream = Stream[GenerateResponse, GenerateResponse]
AsyncGenerateStream = AsyncStream[GenerateResponse, GenerateResponse]


def _one_or_many(reply: Reply) -> GenerateResponse | list[GenerateResponse]:
    """The server answers a batch, and `n` samples of one prompt, with a list."""
    if reply.body.lstrip()[:1] == b"[":
        return TypeAdapter(list[GenerateResponse]).validate_json(reply.body)
    return GenerateResponse.model_validate_json(reply.body)


GENERATE = Endpoint(
    "POST",
    "/generate",
    parse=_one_or_many,
    stream=StreamKind(GenerateResponse, GenerateAccumulator, Stream, AsyncStream),
)


class Generate(Generic[OneT, ManyT, StreamT]):
    """`client.generate("The capital of France is", sampling_params={"max_new_tokens": 8})`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @overload
    def __call__(self, prompt: One, *, stream: Literal[False] = False, **params: Unpack[GenerateParams]) -> OneT: ...
    @overload
    def __call__(self, prompt: Many, *, stream: Literal[False] = False, **params: Unpack[GenerateParams]) -> ManyT: ...
    @overload
    def __call__(self, prompt: One, *, stream: Literal[True], **params: Unpack[GenerateParams]) -> StreamT: ...
    def __call__(self, prompt: One | Many, *, stream: bool = False, **params: Unpack[GenerateParams]) -> Any:
        """Continues a text or a list of token ids: a `GenerateResponse`, a list of them for a batch, or a stream.

        Raises `ValueError` for a stream of a batch, and the errors of `sgl_jax.client`.
        """
        if stream and _is_batch(prompt):
            raise ValueError("A stream has one prompt; stream each prompt of the batch by itself.")
        return self._run(GENERATE.call(_body(prompt), params, stream=stream))


def _is_batch(prompt: One | Many) -> bool:
    return isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)


def _body(prompt: One | Many) -> Mapping[str, Any]:
    first = prompt if isinstance(prompt, str) else next(iter(prompt), "")
    return {"text": prompt} if isinstance(first, str) else {"input_ids": prompt}
