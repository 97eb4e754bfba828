"""The async client: options, connections and resources put together; see `_client` for its sync twin."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, Unpack

from sgl_jax.client._options import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, ClientOptions, OptionChanges, TimeoutOption

if TYPE_CHECKING:
    import httpx

    from sgl_jax.client._async_stream import AsyncStream, PendingStream
    from sgl_jax.client._batch import BatchResult
    from sgl_jax.client._chat_stream import AsyncChatStream
    from sgl_jax.client._requests import Call, Steps
    from sgl_jax.client._transport import AsyncExecutor
    from sgl_jax.client.resources.admin import Admin
    from sgl_jax.client.resources.chat import Chat
    from sgl_jax.client.resources.completions import Completions
    from sgl_jax.client.resources.generate import Generate
    from sgl_jax.client.resources.health import HealthChecks
    from sgl_jax.client.resources.models import Models
    from sgl_jax.client.resources.search import EmbeddingsOf, Rerank, Score
    from sgl_jax.client.resources.tokens import ApplyTemplate, Detokenize, Tokenize
    from sgl_jax.client.types.admin import Aborted, Done, EngineLoad, LoraAdapters, ModelInfo, ServerInfo
    from sgl_jax.client.types.chat import ChatCompletion
    from sgl_jax.client.types.completion import Completion
    from sgl_jax.client.types.generate import GenerateResponse
    from sgl_jax.client.types.metrics import Metrics
    from sgl_jax.client.types.search import Embeddings, Ranking, Scores
    from sgl_jax.client.types.server import Health, ModelCard, ModelList
    from sgl_jax.client.types.tokens import Text, Tokens

T = TypeVar("T")
ItemT = TypeVar("ItemT")
Awaited: TypeAlias = Coroutine[Any, Any, T]


class AsyncSglJax:
    """A connection to a server, for asyncio.

        async with AsyncSglJax("http://127.0.0.1:30000") as client:
            print((await client.chat("Hello!")).text)

    Everything is as in `SglJax`, with `await`. Cancelling a task that waits for an answer closes its
    connection, upon which the server frees the request's slot.

    Args:
        base_url, api_key, timeout, deadline, max_retries, default_headers: as for `SglJax`.
        transport: replaces the network (`httpx.MockTransport`), or configures it (`httpx.AsyncHTTPTransport`).
        http_client: your own httpx client (proxies, TLS); it stays yours to close.

    Raises `ValueError` for a `base_url` that is no HTTP URL.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: TimeoutOption = DEFAULT_TIMEOUT,
        deadline: float | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        default_headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        import httpx

        from sgl_jax.client._transport import LIMITS, AsyncExecutor

        options = ClientOptions.of(
            base_url,
            api_key=api_key,
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            default_headers=default_headers,
        )
        http = http_client or httpx.AsyncClient(transport=transport, limits=LIMITS)
        self._set_up(options, AsyncExecutor(http, owned=http_client is None))

    def _set_up(self, options: ClientOptions, executor: AsyncExecutor) -> None:
        from sgl_jax.client.resources.admin import Admin
        from sgl_jax.client.resources.chat import Chat
        from sgl_jax.client.resources.completions import Completions
        from sgl_jax.client.resources.generate import Generate
        from sgl_jax.client.resources.health import HealthChecks
        from sgl_jax.client.resources.models import Models
        from sgl_jax.client.resources.search import EmbeddingsOf, Rerank, Score
        from sgl_jax.client.resources.tokens import ApplyTemplate, Detokenize, Tokenize

        self._options = options
        self._executor = executor
        self.chat: Chat[Awaited[ChatCompletion], PendingStream[AsyncChatStream]] = Chat(self._run, self._play)
        self.completions: Completions[Awaited[Completion], PendingStream[AsyncStream[Completion, Completion]]] = (
            Completions(self._run)
        )
        self.generate: Generate[
            Awaited[GenerateResponse],
            Awaited[list[GenerateResponse]],
            PendingStream[AsyncStream[GenerateResponse, GenerateResponse]],
        ] = Generate(self._run)
        self.embeddings: EmbeddingsOf[Awaited[Embeddings]] = EmbeddingsOf(self._run)
        self.score: Score[Awaited[Scores]] = Score(self._run)
        self.rerank: Rerank[Awaited[Ranking]] = Rerank(self._run)
        self.models: Models[Awaited[ModelList], Awaited[ModelCard]] = Models(self._run)
        self.health: HealthChecks[Awaited[Health]] = HealthChecks(self._run)
        self.tokenize: Tokenize[Awaited[Tokens]] = Tokenize(self._run)
        self.detokenize: Detokenize[Awaited[Text]] = Detokenize(self._run)
        self.apply_template: ApplyTemplate[Awaited[Text]] = ApplyTemplate(self._run)
        self.admin: Admin[
            Awaited[Metrics],
            Awaited[ServerInfo],
            Awaited[ModelInfo],
            Awaited[Done],
            Awaited[Aborted],
            Awaited[list[EngineLoad]],
            Awaited[LoraAdapters],
        ] = Admin(self._run)

    @property
    def base_url(self) -> str:
        """The server's URL, without `/v1`."""
        return self._options.root

    def with_options(self, **changes: Unpack[OptionChanges]) -> AsyncSglJax:
        """This client with other options, over the same connections, which stay this client's to close."""
        client = object.__new__(AsyncSglJax)
        client._set_up(self._options.changed(changes), self._executor.shared())
        return client

    async def wait_until_ready(
        self, timeout: float = 600.0, *, on_progress: Callable[[str], object] | None = None
    ) -> None:
        """Waits until the server takes requests; as `SglJax.wait_until_ready`."""
        from sgl_jax.client._ready import until_ready

        steps = until_ready(self._options, timeout=timeout, on_progress=on_progress, clock=time.monotonic)
        await self._executor.drive(steps)

    async def batch(
        self,
        function: Callable[[ItemT], Awaitable[T]],
        items: Iterable[ItemT],
        *,
        concurrency: int = 8,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[BatchResult[T]]:
        """Calls a function with each item, in tasks, a bounded number at a time; as `SglJax.batch`.

        Cancelling it cancels the calls under way, which closes their connections.
        """
        from sgl_jax.client._batch import batch

        return await self._executor.drive(batch(function, items, concurrency=concurrency, on_progress=on_progress))

    async def close(self) -> None:
        """Closes the connections, unless they belong to another client. Open streams end."""
        await self._executor.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncSglJax({self._options.root!r})"

    def _run(self, call: Call) -> Any:
        return self._executor.run(call, self._options)

    def _play(self, script: Callable[[ClientOptions], Steps[T]]) -> Awaited[T]:
        return self._executor.drive(script(self._options))
