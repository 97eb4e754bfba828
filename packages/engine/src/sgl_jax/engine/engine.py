"""The offline engine: text in, text out, one process, one thread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sgl_jax.engine.completion import Chunk, Completion, Embedding
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.errors import InvalidRequestError, SglJaxError
from sgl_jax.engine.messages import (
    EmbeddingParams,
    EngineInfo,
    Finish,
    GenerateRequest,
    Phase,
    TokenDelta,
    TokenLogprobs,
)
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.startup import build_core
from sgl_jax.engine.stats import EngineStats
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.load import load_tokenizer
from sgl_jax.engine.text.stream import TextStream

Message = Mapping[str, Any]
Sampling = SamplingParams | Sequence[SamplingParams] | None


class Engine:
    """Loads a model and generates.

        with Engine("path/to/model") as engine:
            print(engine.generate("Once upon a time")[0].text)

    Not thread-safe; `AsyncEngine` serves many callers at once.

    Args:
        model_path: a Hugging Face model folder, a `.gguf` file, or a hub id (`Qwen/Qwen3-0.6B`).
        on_phase: hears of loading and compiling progress.
        options: the fields of `EngineConfig` (`dtype="bfloat16"`, `max_seq_len=4096`, …).

    Raises:
        ModelLoadError, ConfigError: see `startup.build_core`.
    """

    def __init__(
        self, model_path: str | Path, *, on_phase: Callable[[Phase], None] = lambda phase: None, **options: Any
    ) -> None:
        config = EngineConfig(model_path=str(model_path), **options)
        self.tokenizer = load_tokenizer(config, lambda done, total: on_phase(Phase("downloading", done, total)))
        self._template = ChatTemplate.of(self.tokenizer)
        self._core: EngineCore = build_core(config, on_phase)
        self._ids = itertools.count()

    @property
    def info(self) -> EngineInfo:
        """Facts about the model and its limits."""
        return self._core.info

    def stats(self) -> EngineStats:
        """Counters and gauges of the engine."""
        return self._core.stats()

    def generate(
        self,
        prompts: str | Sequence[str] | None = None,
        sampling: Sampling = None,
        *,
        prompt_ids: Sequence[Sequence[int]] | None = None,
    ) -> list[Completion]:
        """Generates a completion for every prompt, batched together.

        Args:
            prompts: one text or several.
            sampling: one for all, or one a prompt.
            prompt_ids: token ids instead of texts.

        Raises:
            InvalidRequestError: a prompt or parameter is refused; nothing is generated then.
        """
        sequences = [_Sequence(ids, params, self) for ids, params in self._inputs(prompts, prompt_ids, sampling)]
        by_id = {sequence.request_id: sequence for sequence in sequences}
        try:
            for sequence, delta in self._run(by_id):
                sequence.push(delta)
        except BaseException:
            self._core.abort(list(by_id))
            raise
        return [sequence.completion() for sequence in sequences]

    def embed(
        self,
        texts: str | Sequence[str] | None = None,
        *,
        prompt_ids: Sequence[Sequence[int]] | None = None,
        dimensions: int | None = None,
    ) -> list[Embedding]:
        """Makes an embedding of every text, batched together. For an engine made with `is_embedding=True`.

        Args:
            texts: one or several; special tokens are added as the tokenizer's files say.
            prompt_ids: token ids instead of texts.
            dimensions: keep only the first ones, of a model that was trained for that; None keeps all.

        Raises:
            InvalidRequestError: a text is refused, or this engine generates; nothing is computed then.
        """
        params = EmbeddingParams(dimensions=dimensions)
        wanted = self._inputs(texts, prompt_ids, None)
        sequences = [_Sequence(ids, sampling, self, params) for ids, sampling in wanted]
        found: dict[str, Embedding] = {}
        try:
            for sequence, delta in self._run({sequence.request_id: sequence for sequence in sequences}):
                sequence.push(delta)
                found[sequence.request_id] = Embedding.of(delta, len(sequence.request().prompt_ids))
        except BaseException:
            self._core.abort([sequence.request_id for sequence in sequences])
            raise
        return [found[sequence.request_id] for sequence in sequences]

    def chat(self, messages: Sequence[Message], sampling: SamplingParams | None = None, **template: Any) -> Completion:
        """Answers a conversation (`[{"role": "user", "content": "…"}]`).

        Args:
            messages: in OpenAI's form.
            sampling: how to draw.
            template: further variables for the chat template.

        Raises:
            ChatTemplateError: the model has no chat template or it refuses the messages.
        """
        return self.generate(prompt_ids=[self.render(messages, **template)], sampling=sampling)[0]

    def stream(
        self,
        prompt: str | Sequence[Message],
        sampling: SamplingParams | None = None,
        **template: Any,
    ) -> Iterator[Chunk]:
        """Generates for one prompt (a text, or messages of a conversation), piece by piece.

        Leaving the iteration early aborts the request.
        """
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else self.render(prompt, **template)
        sequence = _Sequence(ids, sampling or SamplingParams(), self)
        try:
            for _, delta in self._run({sequence.request_id: sequence}):
                yield sequence.push(delta)
        finally:
            self._core.abort([sequence.request_id])

    def render(self, messages: Sequence[Message], **template: Any) -> list[int]:
        """Token ids of a conversation under the model's chat template, ready for the assistant's turn."""
        text = self._template.render(messages, add_generation_prompt=True, **template)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def close(self) -> None:
        """Ends the engine; idempotent."""
        self._core.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def next_request_id(self) -> str:
        """A request id that this engine has not used."""
        return f"offline-{next(self._ids)}"

    def _inputs(
        self, prompts: str | Sequence[str] | None, prompt_ids: Sequence[Sequence[int]] | None, sampling: Sampling
    ) -> list[tuple[list[int], SamplingParams]]:
        if (prompts is None) == (prompt_ids is None):
            raise InvalidRequestError("Give either prompts or prompt_ids.")
        if prompt_ids is None:
            assert prompts is not None
            texts = [prompts] if isinstance(prompts, str) else list(prompts)
            if not all(isinstance(text, str) for text in texts):
                raise InvalidRequestError("prompts are texts; give token ids as prompt_ids.")
            encoded = self.tokenizer.encode_batch(texts)
        else:
            encoded = [list(ids) for ids in prompt_ids]
        if sampling is None or isinstance(sampling, SamplingParams):
            return [(ids, sampling or SamplingParams()) for ids in encoded]
        if len(sampling) != len(encoded):
            raise InvalidRequestError(f"{len(encoded)} prompts but {len(sampling)} sampling parameters.")
        return list(zip(encoded, sampling, strict=True))

    def _run(self, sequences: Mapping[str, _Sequence]) -> Iterator[tuple[_Sequence, TokenDelta]]:
        """Submits, then steps until every sequence has ended."""
        for sequence in sequences.values():
            self._core.submit(sequence.request())
        while not all(sequence.ended for sequence in sequences.values()):
            outputs = self._core.step()
            for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
                found = sequences.get(request_id)
                if found is None or found.ended:
                    continue
                yield found, delta
                if found.stopped_by_text:
                    self._core.abort([request_id])


class _Sequence:
    """A sequence being generated, as the text side sees it."""

    def __init__(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        engine: Engine,
        embedding: EmbeddingParams | None = None,
    ) -> None:
        self.request_id = engine.next_request_id()
        self.stopped_by_text = False
        self._prompt_ids = prompt_ids
        self._sampling = sampling
        self._embedding = embedding
        self._stream = TextStream(engine.tokenizer, sampling)
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        self._prompt_logprobs: list[TokenLogprobs] = []
        self._text: list[str] = []
        self._finish: Finish | None = None
        self._cached_tokens = 0

    @property
    def ended(self) -> bool:
        return self._finish is not None

    def request(self) -> GenerateRequest:
        return GenerateRequest(
            request_id=self.request_id,
            prompt_ids=self._prompt_ids,
            sampling=self._sampling,
            embedding=self._embedding,
        )

    def push(self, delta: TokenDelta) -> Chunk:
        """Takes a delta; raises what the engine refused the request for."""
        if delta.finish is not None and delta.finish.reason == "error":
            if delta.finish.code in ("invalid_request", "context_length"):
                raise InvalidRequestError(delta.finish.message or "The request was refused.", delta.finish.param)
            raise SglJaxError(delta.finish.message or "The request failed.")
        text = self._stream.push(delta)
        token_ids = delta.token_ids[: len(delta.token_ids) - text.num_unused]
        self._token_ids += token_ids
        self._logprobs += delta.logprobs[: len(token_ids)]
        self._prompt_logprobs += delta.prompt_logprobs
        self._text.append(text.text)
        self._finish = text.finish
        self._cached_tokens = max(self._cached_tokens, delta.cached_tokens)
        self.stopped_by_text = text.finish is not None and delta.finish is None
        return Chunk(text=text.text, token_ids=token_ids, finish=text.finish)

    def completion(self) -> Completion:
        assert self._finish is not None
        return Completion(
            text="".join(self._text),
            token_ids=self._token_ids,
            finish=self._finish,
            prompt_tokens=len(self._prompt_ids),
            cached_tokens=self._cached_tokens,
            logprobs=self._logprobs,
            prompt_logprobs=self._prompt_logprobs,
        )
