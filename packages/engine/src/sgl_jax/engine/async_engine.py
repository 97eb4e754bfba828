"""The engine for asyncio programs: a thread around the core, and the six verbs of `EngineClient`."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sgl_jax.engine.completion import Chunk
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.core import EngineCore, build_core
from sgl_jax.engine.errors import EngineDeadError, InvalidRequestError
from sgl_jax.engine.messages import ControlReply, EngineInfo, GenerateRequest, Phase, StepOutputs, TokenDelta
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.stream import TextStream
from sgl_jax.engine.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

Order = Callable[[EngineCore], object]


class AsyncEngine:
    """Many concurrent callers on one engine, in process. Implements `messages.EngineClient`.

        async with AsyncEngine("path/to/model") as engine:
            async for chunk in engine.stream("Once upon a time"):
                print(chunk.text, end="")

    The model is loaded on entering; a thread of its own steps it. Arguments as for `Engine`.
    """

    def __init__(
        self, model_path: str | Path, *, on_phase: Callable[[Phase], None] = lambda phase: None, **options: Any
    ) -> None:
        self._config = EngineConfig(model_path=str(model_path), **options)
        self._on_phase = on_phase
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._streams: dict[str, asyncio.Queue[TokenDelta | EngineDeadError]] = {}
        self._thread: threading.Thread | None = None
        self._core: EngineCore | None = None
        self._failure: EngineDeadError | None = None

    async def __aenter__(self) -> AsyncEngine:
        path = Path(self._config.tokenizer_path or self._config.model_path).expanduser()
        self.tokenizer = await asyncio.to_thread(Tokenizer.from_path, path)
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
    ) -> AsyncIterator[Chunk]:
        """Generates for one prompt (a text, or messages of a conversation), piece by piece.

        Leaving the iteration early aborts the request.

        Raises:
            InvalidRequestError: the request is refused.
            EngineDeadError: the engine stopped.
        """
        sampling = sampling or SamplingParams()
        if isinstance(prompt, str):
            prompt_ids = self.tokenizer.encode(prompt)
        else:
            text = self._template.render(prompt, add_generation_prompt=True, **template)
            prompt_ids = self.tokenizer.encode(text, add_special_tokens=False)
        request = GenerateRequest(request_id=uuid.uuid4().hex, prompt_ids=prompt_ids, sampling=sampling)
        await self.submit(request)
        text_stream = TextStream(self.tokenizer, sampling)
        async for delta in self.outputs(request.request_id):
            if delta.finish is not None and delta.finish.reason == "error":
                raise InvalidRequestError(delta.finish.message or "The request was refused.", delta.finish.param)
            piece = text_stream.push(delta)
            yield Chunk(text=piece.text, token_ids=delta.token_ids, finish=piece.finish)
            if piece.finish is not None:
                return

    async def submit(self, request: GenerateRequest) -> None:
        """See `EngineClient.submit`. Raises `InvalidRequestError` when the id is in use."""
        self._require_alive()
        if request.request_id in self._streams:
            raise InvalidRequestError(f"request id {request.request_id!r} is in use.", "request_id")
        self._streams[request.request_id] = asyncio.Queue()
        self._orders.put(lambda core: core.submit(request))

    async def outputs(self, request_id: str) -> AsyncIterator[TokenDelta]:
        """See `EngineClient.outputs`."""
        stream = self._streams.get(request_id)
        if stream is None:
            raise InvalidRequestError(f"request id {request_id!r} was not submitted.", "request_id")
        finished = False
        try:
            while not finished:
                delta = await stream.get()
                if isinstance(delta, EngineDeadError):
                    raise delta
                finished = delta.finish is not None
                yield delta
        finally:
            self._streams.pop(request_id, None)
            if not finished:
                self._orders.put(lambda core: core.abort([request_id]))

    async def abort(self, request_ids: Sequence[str]) -> None:
        """See `EngineClient.abort`."""
        ids = list(request_ids)
        self._orders.put(lambda core: core.abort(ids))

    async def control(self, verb: Literal["stats", "flush_cache", "ping"]) -> ControlReply:
        """See `EngineClient.control`."""
        self._require_alive()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ControlReply] = loop.create_future()
        control_id = uuid.uuid4().hex

        def ask(core: EngineCore) -> None:
            reply = core.control(control_id, verb)
            loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(reply))

        self._orders.put(ask)
        return await answer

    def info(self) -> EngineInfo:
        """See `EngineClient.info`."""
        return self._require_alive().info

    async def close(self) -> None:
        """Ends the engine thread; waiting callers get `EngineDeadError`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            await asyncio.to_thread(thread.join)
            self._fail(EngineDeadError("The engine was closed."))

    def _require_alive(self) -> EngineCore:
        if self._failure is not None:
            raise self._failure
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
            loop.call_soon_threadsafe(self._fail, EngineDeadError(f"The engine stopped: {error}"))

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
            stream = self._streams.get(request_id)
            if stream is not None:
                stream.put_nowait(delta)

    def _fail(self, failure: EngineDeadError) -> None:
        self._failure = failure
        for stream in self._streams.values():
            stream.put_nowait(failure)
