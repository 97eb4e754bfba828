"""The sync client: options, connections and resources put together.

httpx and pydantic are imported when a client is made, not with this module: programs that only
might talk to a server start without them (they take some 300 ms).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from sgl_jax.client._options import DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, ClientOptions, OptionChanges, TimeoutOption

if TYPE_CHECKING:
    import httpx

    from sgl_jax.client._batch import BatchResult
    from sgl_jax.client._chat_stream import ChatStream
    from sgl_jax.client._requests import Call, Steps
    from sgl_jax.client._stream import Stream
    from sgl_jax.client._transport import SyncExecutor
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


class SglJax:
    """A connection to a server.

        client = SglJax("http://127.0.0.1:30000")
        print(client.chat("Hello!").text)

    One client serves many threads and keeps its connections; close it, or use it as a context manager.

    Args:
        base_url: with or without `/v1`; `SGL_JAX_BASE_URL`, then port 30000 of this machine when None.
        api_key: sent as a bearer token; `SGL_JAX_API_KEY` when None.
        timeout: seconds, an `httpx.Timeout`, or None for no limit. 5 s to connect, 600 s between bytes by default.
        deadline: seconds for all of a call: retries, pauses, and the reading of a stream; None for no limit.
        max_retries: repeats of what is safe to repeat; a generation that may have begun never is.
        default_headers: sent with every request.
        transport: replaces the network (`httpx.MockTransport`), or configures it (`httpx.HTTPTransport`).
        http_client: your own httpx client (proxies, TLS); it stays yours to close.

    Raises `ValueError` for a `base_url` without `http://` or `https://`.
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
        transport: httpx.BaseTransport | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        import httpx

        from sgl_jax.client._transport import LIMITS, SyncExecutor

        options = ClientOptions.of(
            base_url,
            api_key=api_key,
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            default_headers=default_headers,
        )
        http = http_client or httpx.Client(transport=transport, limits=LIMITS)
        self._set_up(options, SyncExecutor(http, owned=http_client is None))

    def _set_up(self, options: ClientOptions, executor: SyncExecutor) -> None:
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
        self.chat: Chat[ChatCompletion, ChatStream] = Chat(self._run, self._play)
        self.completions: Completions[Completion, Stream[Completion, Completion]] = Completions(self._run)
        self.generate: Generate[
            GenerateResponse, list[GenerateResponse], Stream[GenerateResponse, GenerateResponse]
        ] = Generate(self._run)
        self.embeddings: EmbeddingsOf[Embeddings] = EmbeddingsOf(self._run)
        self.score: Score[Scores] = Score(self._run)
        self.rerank: Rerank[Ranking] = Rerank(self._run)
        self.models: Models[ModelList, ModelCard] = Models(self._run)
        self.health: HealthChecks[Health] = HealthChecks(self._run)
        self.tokenize: Tokenize[Tokens] = Tokenize(self._run)
        self.detokenize: Detokenize[Text] = Detokenize(self._run)
        self.apply_template: ApplyTemplate[Text] = ApplyTemplate(self._run)
        self.admin: Admin[Metrics, ServerInfo, ModelInfo, Done, Aborted, list[EngineLoad], LoraAdapters] = Admin(
            self._run
        )

    @property
    def base_url(self) -> str:
        """The server's URL, without `/v1`."""
        return self._options.root

    def with_options(self, **changes: Unpack[OptionChanges]) -> SglJax:
        """This client with other options, over the same connections, which stay this client's to close."""
        client = object.__new__(SglJax)
        client._set_up(self._options.changed(changes), self._executor.shared())
        return client

    def wait_until_ready(self, timeout: float = 600.0, *, on_progress: Callable[[str], object] | None = None) -> None:
        """Waits until the server takes requests, also while nothing listens there yet.

        Args:
            timeout: seconds.
            on_progress: told each new phase: `"loading"`, `"compiling 3/12"`, `"ready"`.

        Raises `NotReadyError`, with the last phase, when time runs out.
        """
        from sgl_jax.client._ready import until_ready

        steps = until_ready(self._options, timeout=timeout, on_progress=on_progress, clock=time.monotonic)
        self._executor.drive(steps)

    def batch(
        self,
        function: Callable[[ItemT], T],
        items: Iterable[ItemT],
        *,
        concurrency: int = 8,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> list[BatchResult[T]]:
        """Calls a function with each item, in threads, a bounded number at a time.

            client.batch(client.chat, ["What is 1 + 1?", "What is 2 + 2?"])

        Args:
            function: asks the server something: `client.chat`, or your own with a few calls in it.
            items: what it is called with.
            concurrency: how many calls are under way at most.
            on_progress: told how many items are done, and of how many, on this thread.

        Returns a result for each item, in the order of the items: the function's `value`, or the `error` it raised.

        Raises `ValueError` for a `concurrency` below 1.
        """
        from sgl_jax.client._batch import batch

        return self._executor.drive(batch(function, items, concurrency=concurrency, on_progress=on_progress))

    def close(self) -> None:
        """Closes the connections, unless they belong to another client. Open streams end."""
        self._executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SglJax({self._options.root!r})"

    def _run(self, call: Call) -> Any:
        return self._executor.run(call, self._options)

    def _play(self, script: Callable[[ClientOptions], Steps[T]]) -> T:
        return self._executor.drive(script(self._options))
