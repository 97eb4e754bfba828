"""The engine for asyncio programs: a thread around the core, and the six verbs of `EngineClient`."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from sgl_jax.engine.completion import Chunk, Embedding
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.errors import (
    ContextLengthError,
    EngineDeadError,
    InvalidRequestError,
    QueueFullError,
    SglJaxError,
)
from sgl_jax.engine.messages import (
    ControlReply,
    ControlVerb,
    EmbeddingParams,
    EngineInfo,
    Finish,
    GenerateRequest,
    Phase,
    StepOutputs,
    TokenDelta,
)
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.startup import build_core
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.load import load_tokenizer
from sgl_jax.engine.text.stream import TextStream

logger = logging.getLogger(__name__)

Order = Callable[[EngineCore], object]
Arrivals = asyncio.Queue[TokenDelta | None]
"""One request's deltas on their way to its reader; None says that the engine is gone."""


class AsyncEngine:
    """Many concurrent callers on one engine, in process. Implements `messages.EngineClient`.

        async with AsyncEngine("path/to/model") as engine:
            async for chunk in engine.stream("Once upon a time"):
                print(chunk.text, end="")

    The model is loaded on entering; a thread of its own steps it. It belongs to the event loop that
    entered it.

    Args:
        model_path: a Hugging Face model folder, a `.gguf` file, or a hub id (`Qwen/Qwen3-0.6B`).
        on_phase: hears of loading and compiling progress, in another thread.
        options: the fields of `EngineConfig` (`dtype="bfloat16"`, `max_seq_len=4096`, …).

    Raises (on entering):
        ModelLoadError, ConfigError: see `startup.build_core`.
    """

    def __init__(
        self, model_path: str | Path, *, on_phase: Callable[[Phase], None] = lambda phase: None, **options: Any
    ) -> None:
        self._config = EngineConfig(model_path=str(model_path), **options)
        self._on_phase = on_phase
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._arrivals: dict[str, Arrivals] = {}
        self._replies: set[asyncio.Future[ControlReply]] = set()
        self._thread: threading.Thread | None = None
        self._core: EngineCore | None = None
        self._failure: str | None = None

    async def __aenter__(self) -> AsyncEngine:
        self.tokenizer = await asyncio.to_thread(load_tokenizer, self._config, self._on_download)
        self._template = ChatTemplate.of(self.tokenizer)
        self._core = await asyncio.to_thread(build_core, self._config, self._on_phase)
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, args=(self._core, loop), name="sgl-jax-engine", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def stream(
        self, prompt: str | Sequence[Mapping[str, Any]], sampling: SamplingParams | None = None, **template: Any
    ) -> AsyncGenerator[Chunk]:
        """Generates for one prompt (a text, or messages of a conversation), piece by piece.

        Leaving the iteration early aborts the request.

        Args:
            prompt: what to continue, or to answer.
            sampling: how to draw.
            template: further variables for the chat template.

        Raises:
            InvalidRequestError: the request is refused.
            QueueFullError: too many requests wait already.
            EngineDeadError: the engine stopped.
        """
        sampling = sampling or SamplingParams()
        # In a thread: a long conversation must not hold up the other streams.
        prompt_ids = await asyncio.to_thread(self._encode, prompt, template)
        request = GenerateRequest(request_id=uuid.uuid4().hex, prompt_ids=prompt_ids, sampling=sampling)
        await self.submit(request)
        text_stream = TextStream(self.tokenizer, sampling)
        async with aclosing(self.outputs(request.request_id)) as outputs:
            async for delta in outputs:
                if delta.finish is not None and delta.finish.reason == "error":
                    raise _refusal(delta.finish)
                piece = text_stream.push(delta)
                token_ids = delta.token_ids[: len(delta.token_ids) - piece.num_unused]
                yield Chunk(text=piece.text, token_ids=token_ids, finish=piece.finish)
                if piece.finish is not None:
                    return

    async def embed(
        self,
        texts: str | Sequence[str] | None = None,
        *,
        prompt_ids: Sequence[Sequence[int]] | None = None,
        dimensions: int | None = None,
    ) -> list[Embedding]:
        """Makes an embedding of every text. For an engine made with `is_embedding=True`.

        Args:
            texts: one or several; special tokens are added as the tokenizer's files say.
            prompt_ids: token ids instead of texts.
            dimensions: keep only the first ones, of a model that was trained for that; None keeps all.

        Raises:
            InvalidRequestError: a text is refused, or this engine generates.
            QueueFullError: too many requests wait already.
            EngineDeadError: the engine stopped.
        """
        if (texts is None) == (prompt_ids is None):
            raise InvalidRequestError("Give either texts or prompt_ids.")
        if texts is None:
            ids = [list(one) for one in prompt_ids or ()]
        else:
            listed = [texts] if isinstance(texts, str) else list(texts)
            ids = await asyncio.to_thread(self.tokenizer.encode_batch, listed)
        params = EmbeddingParams(dimensions=dimensions)
        requests = [GenerateRequest(request_id=uuid.uuid4().hex, prompt_ids=one, embedding=params) for one in ids]
        try:
            for request in requests:
                await self.submit(request)
            return [await self._embedding(request) for request in requests]
        except BaseException:
            await self.abort([request.request_id for request in requests])
            raise

    async def submit(self, request: GenerateRequest) -> None:
        """See `EngineClient.submit`. Raises `InvalidRequestError` when the id is in use."""
        self._require_alive()
        if request.request_id in self._arrivals:
            raise InvalidRequestError(f"Request id {request.request_id!r} is in use; choose another.", "request_id")
        self._arrivals[request.request_id] = asyncio.Queue()
        self._orders.put(lambda core: core.submit(request))

    def outputs(self, request_id: str, every: int = 1) -> AsyncGenerator[TokenDelta]:
        """See `EngineClient.outputs`; here no token is kept back.

        Raises:
            InvalidRequestError: at once, when no such request was submitted or it has ended.
        """
        arrivals = self._arrivals.get(request_id)
        if arrivals is None:
            raise InvalidRequestError(f"There is no request {request_id!r}: submit it first.", "request_id")
        return self._follow(request_id, arrivals)

    async def abort(self, request_ids: Sequence[str]) -> None:
        """See `EngineClient.abort`."""
        known = [request_id for request_id in request_ids if request_id in self._arrivals]
        if known:
            self._orders.put(lambda core: core.abort(known))
        for request_id in known:
            # The engine says nothing more about it; whoever still waits must not wait forever.
            self._arrivals.pop(request_id).put_nowait(TokenDelta([], Finish(reason="abort", message="Aborted.")))

    async def control(self, verb: ControlVerb) -> ControlReply:
        """See `EngineClient.control`."""
        self._require_alive()
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[ControlReply] = loop.create_future()
        control_id = uuid.uuid4().hex

        def ask(core: EngineCore) -> None:
            answer = core.control(control_id, verb)
            loop.call_soon_threadsafe(lambda: None if reply.done() else reply.set_result(answer))

        self._replies.add(reply)
        try:
            self._orders.put(ask)
            return await reply
        finally:
            self._replies.discard(reply)

    def info(self) -> EngineInfo:
        """See `EngineClient.info`."""
        return self._require_alive().info

    async def close(self) -> None:
        """Ends the engine thread; waiting callers get `EngineDeadError`. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            await asyncio.to_thread(thread.join)
            self._fail("The engine was closed.")

    async def _embedding(self, request: GenerateRequest) -> Embedding:
        async with aclosing(self.outputs(request.request_id)) as outputs:
            delta = await anext(outputs)
        if delta.finish is None or delta.finish.reason != "stop":
            raise _refusal(delta.finish or Finish(reason="error"))
        return Embedding.of(delta, len(request.prompt_ids))

    def _on_download(self, done: int, total: int) -> None:
        self._on_phase(Phase("downloading", done, total))

    def _encode(self, prompt: str | Sequence[Mapping[str, Any]], template: Mapping[str, Any]) -> list[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt)
        text = self._template.render(prompt, add_generation_prompt=True, **template)
        return self.tokenizer.encode(text, add_special_tokens=False)

    async def _follow(self, request_id: str, arrivals: Arrivals) -> AsyncGenerator[TokenDelta]:
        finished = False
        try:
            while not finished:
                delta = await arrivals.get()
                if delta is None:
                    raise EngineDeadError(self._failure)
                finished = delta.finish is not None
                yield delta
        finally:
            # After `abort` it is out of the table already.
            if self._arrivals.get(request_id) is arrivals:
                del self._arrivals[request_id]
                if not finished:
                    self._orders.put(lambda core: core.abort([request_id]))

    def _require_alive(self) -> EngineCore:
        if self._failure is not None:
            raise EngineDeadError(self._failure)
        if self._core is None:
            raise EngineDeadError("The engine is not started: use `async with AsyncEngine(...)`.")
        return self._core

    def _serve(self, core: EngineCore, loop: asyncio.AbstractEventLoop) -> None:
        """The engine thread: orders first, then a step; a blocked wait when there is nothing to do."""
        try:
            while self._obey(core):
                outputs = core.step()
                if outputs.request_ids:
                    loop.call_soon_threadsafe(self._deliver, outputs)
            core.close()
        except Exception as error:
            logger.exception("the engine stopped")
            loop.call_soon_threadsafe(self._fail, f"The engine stopped: {error}")

    def _obey(self, core: EngineCore) -> bool:
        """Carries out all waiting orders; blocks for one while there is no work. False means: end."""
        while True:
            try:
                order = self._orders.get(block=not core.has_work())
            except queue.Empty:
                return True
            if order is None:
                return False
            order(core)

    def _deliver(self, outputs: StepOutputs) -> None:
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            if (arrivals := self._arrivals.get(request_id)) is not None:
                arrivals.put_nowait(delta)

    def _fail(self, failure: str) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        for arrivals in self._arrivals.values():
            arrivals.put_nowait(None)
        for reply in self._replies:
            if not reply.done():
                reply.set_exception(EngineDeadError(failure))


def _refusal(finish: Finish) -> SglJaxError:
    """The exception for a request that the engine ended with reason `error`."""
    message = finish.message or "The request was refused."
    match finish.code:
        case "context_length":
            return ContextLengthError(message, finish.param)
        case "queue_full":
            return QueueFullError(message)
        case "invalid_request":
            return InvalidRequestError(message, finish.param)
        case _:
            return SglJaxError(message)
