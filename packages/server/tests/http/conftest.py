"""A scripted engine, a tiny tokenizer, and the app between them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import tokenizers
import uvicorn
from fastapi import FastAPI

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.errors import EngineDeadError, InvalidRequestError
from sgl_jax.engine.messages import (
    ControlReply,
    ControlVerb,
    EngineInfo,
    Finish,
    GenerateRequest,
    Phase,
    TokenDelta,
    TokenLogprobs,
)
from sgl_jax.engine.stats import EngineStats
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts
from sgl_jax.server.app import AppOptions, create_app
from sgl_jax.server.context import ServerContext
from sgl_jax.server.http_protocol import BoundedHttpProtocol
from sgl_jax.server.limits import Limits
from sgl_jax.server.openai.messages import takes_arguments_as_text
from sgl_jax.server.parsing.chat_format import ChatFormat

MODEL = "org/tiny"
MAX_MODEL_LEN = 512
HIDDEN_SIZE = 4
ANSWER = "Hello wörld! 👩‍🚀 Stop here."
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

Item = TokenDelta | asyncio.Event | Exception
"""One thing an engine does for a request: say something, wait, or fail."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def byte_tokenizer(template: str, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """Byte-level with no merges: one token a byte, so that every token boundary is a hard one."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", *special_tokens])
    return Tokenizer(TokenizerParts(backend, None, "<|im_end|>", {}, template))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return byte_tokenizer(CHATML)


@dataclass
class FakeEngine:
    """Implements `EngineClient`; what it says is scripted, what it hears is recorded.

    By default it says `ANSWER`, one token a delta, as long as `max_new_tokens` lets it.
    """

    tokenizer: Tokenizer
    script: Callable[[GenerateRequest], Sequence[Item]] | None = None
    submitted: list[GenerateRequest] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    asked_every: list[int] = field(default_factory=list)
    dead: bool = False
    generated: int = 0
    pooling: Pooling | None = None
    _aborts: dict[str, asyncio.Event] = field(default_factory=dict)

    def say(self, request: GenerateRequest, text: str = ANSWER) -> list[Item]:
        """`text`, token by token, then the end; or an embedding."""
        if request.embedding is not None:
            return [TokenDelta([], Finish(reason="stop"), embedding=bytes(4 * HIDDEN_SIZE))]
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        eos = self.tokenizer.eos_token_id or 0
        limit = request.sampling.max_new_tokens
        whole = [*ids, eos]
        said = whole if limit is None else whole[:limit]
        end = Finish(reason="stop", matched=eos) if len(said) == len(whole) else Finish(reason="length")
        items: list[Item] = []
        for position, token in enumerate(said):
            last = position == len(said) - 1
            items.append(
                TokenDelta(
                    [token],
                    end if last else None,
                    cached_tokens=2 if position == 0 else 0,
                    logprobs=self._logprobs(request, token),
                    prompt_logprobs=self._prompt_logprobs(request) if position == 0 else [],
                )
            )
        return items or [TokenDelta([], Finish(reason="length"), prompt_logprobs=self._prompt_logprobs(request))]

    def _prompt_logprobs(self, request: GenerateRequest) -> list[TokenLogprobs]:
        """Minus its position, for each token."""
        sampling = request.sampling
        if sampling.prompt_logprobs is None:
            return []
        positions = range(max(1, sampling.prompt_logprobs_from), len(request.prompt_ids))
        return [
            TokenLogprobs(-float(at), [(request.prompt_ids[at], -float(at))][: sampling.prompt_logprobs])
            for at in positions
        ]

    def _logprobs(self, request: GenerateRequest, token: int) -> list[TokenLogprobs]:
        wanted = request.sampling.logprobs
        if wanted is None:
            return []
        chosen = [-1.0] * len(request.sampling.token_ids_logprob)
        return [TokenLogprobs(-0.5, [(token, -0.5), (0, float("-inf"))][:wanted], chosen)]

    async def submit(self, request: GenerateRequest) -> None:
        if self.dead:
            raise EngineDeadError("The engine is dead.")
        self.submitted.append(request)
        self._aborts[request.request_id] = asyncio.Event()

    def outputs(self, request_id: str, every: int = 1) -> AsyncIterator[TokenDelta]:
        self.asked_every.append(every)
        if request_id not in self._aborts or request_id in self.aborted:
            raise InvalidRequestError(f"There is no request {request_id!r}.")
        return self._follow(request_id, self._aborts[request_id])

    async def _follow(self, request_id: str, aborted: asyncio.Event) -> AsyncIterator[TokenDelta]:
        request = next(one for one in self.submitted if one.request_id == request_id)
        done = False
        try:
            for item in (self.script or self.say)(request):
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, asyncio.Event):
                    waits = [asyncio.ensure_future(event.wait()) for event in (item, aborted)]
                    try:
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for wait in waits:
                            wait.cancel()
                    continue
                await asyncio.sleep(0)
                if aborted.is_set():
                    break
                self.generated += len(item.token_ids)
                done = item.finish is not None
                if done:
                    self.finished.append(request_id)
                yield item
                if done:
                    return
            if aborted.is_set():
                done = True
                yield TokenDelta([], Finish(reason="abort", message="Aborted."))
        finally:
            if not done:
                await self.abort([request_id])

    async def abort(self, request_ids: Sequence[str]) -> None:
        for request_id in request_ids:
            if request_id in self._aborts and request_id not in self.aborted:
                self.aborted.append(request_id)
                self._aborts[request_id].set()

    async def control(self, verb: ControlVerb) -> ControlReply:
        if self.dead:
            raise EngineDeadError("The engine is dead.")
        self.orders.append(verb)
        if verb == "stop_profile" and "start_profile" not in self.orders:
            return ControlReply(control_id="0", error="No profile is being recorded; start one first.")
        stats = EngineStats(generated_tokens_total=self.generated, pages_total=256, pages_free=192)
        return ControlReply(control_id="0", stats=stats, folder="/profiles/1" if "profile" in verb else None)

    def info(self) -> EngineInfo:
        if self.dead:
            raise EngineDeadError("The engine is dead.")
        return EngineInfo(
            model_path="/models/tiny",
            architecture="TinyForCausalLM",
            vocab_size=self.tokenizer.vocab_size,
            max_model_len=MAX_MODEL_LEN,
            max_total_tokens=4096,
            max_running_requests=8,
            eos_token_ids=[self.tokenizer.eos_token_id or 0],
            dtype="float32",
            device="fake",
            hidden_size=HIDDEN_SIZE,
            pooling=self.pooling,
        )

    async def close(self) -> None:
        self.dead = True


@pytest.fixture
def engine(tokenizer: Tokenizer) -> FakeEngine:
    return FakeEngine(tokenizer)


@pytest.fixture
def phase() -> list[Phase]:
    """The engine's phase; a test replaces the only element."""
    return [Phase("ready")]


@pytest.fixture
def make_app(engine: FakeEngine, tokenizer: Tokenizer, phase: list[Phase]) -> Callable[..., FastAPI]:
    """Makes an app around `engine`; further keyword arguments are `Limits`."""

    def make(
        *,
        template: bool = True,
        options: AppOptions | None = None,
        incremental_stream: bool = False,
        stream_interval: int = 1,
        **limits: Any,
    ) -> FastAPI:
        return create_app(
            ServerContext(
                engine=engine,
                tokenizer=tokenizer,
                chat_template=ChatTemplate.of(tokenizer) if template else None,
                served_model_name=MODEL,
                phase=lambda: phase[0],
                incremental_stream=incremental_stream,
                stream_interval=stream_interval,
                limits=Limits(**limits),
            ),
            options or AppOptions(),
        )

    return make


@pytest.fixture(scope="session")
def make_speaker() -> Callable[..., tuple[FastAPI, FakeEngine]]:
    """Makes an app whose model always says the same, and its engine."""

    def make(
        text: str,
        template: str,
        *,
        special_tokens: Sequence[str] = (),
        tools: str = "auto",
        reasoning: str = "auto",
        **limits: Any,
    ) -> tuple[FastAPI, FakeEngine]:
        tokenizer = byte_tokenizer(template, special_tokens)
        engine = FakeEngine(tokenizer, lambda request: engine.say(request, text))
        chat_template = ChatTemplate.of(tokenizer)
        chat_format = ChatFormat.choose(
            tools, reasoning, template, arguments_as_text=takes_arguments_as_text(chat_template)
        )
        context = ServerContext(
            engine=engine,
            tokenizer=tokenizer,
            chat_template=chat_template,
            chat_format=chat_format,
            served_model_name=MODEL,
            phase=lambda: Phase("ready"),
            limits=Limits(**limits),
        )
        return create_app(context), engine

    return make


@pytest.fixture
def connect() -> Callable[[FastAPI], httpx.AsyncClient]:
    """An HTTP client that talks to an app in process."""

    def make(app: FastAPI) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")

    return make


@pytest.fixture
async def http(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], anyio_backend: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with default limits."""
    async with connect(make_app()) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """Serves an app with uvicorn in a thread; returns its base URL."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def start(app: FastAPI) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, http=BoundedHttpProtocol, ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread, listener))
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            assert time.monotonic() < deadline, "uvicorn did not start in time"
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
