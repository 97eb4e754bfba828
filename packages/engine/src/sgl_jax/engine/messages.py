"""What crosses between the text side (web process) and the token side (engine): ids only, no text.

The same structs travel in process (`AsyncEngine`) and over ZMQ (the server's `ipc`), as msgspec
tagged unions: never pickle. One `StepOutputs` carries a whole step, in columns, for all requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.stats import EngineStats

FinishReason = Literal["stop", "length", "abort", "error"]


class EmbeddingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller may ask of one embedding.

    Attributes:
        dimensions: keep only the first ones (of a model that was trained for it); None keeps all.
    """

    dimensions: int | None = None


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="generate"):
    """One sequence to generate, or to embed.

    Attributes:
        request_id: unique among live requests; the caller's choice.
        prompt_ids: at least one token id.
        sampling: how to go on from there (stop *strings* are the text side's business).
        priority: larger is more urgent, where the schedule policy looks at it.
        cache_salt: prefixes are shared only between requests of the same salt.
        embedding: set when nothing is to be generated and the prompt's embedding is wanted. An engine either
            generates or embeds (`EngineInfo.pooling`) and refuses the other kind.
    """

    request_id: str
    prompt_ids: list[int]
    sampling: SamplingParams = SamplingParams()
    priority: int = 0
    cache_salt: str = ""
    embedding: EmbeddingParams | None = None


class AbortRequest(msgspec.Struct, frozen=True, kw_only=True, tag="abort"):
    """Forget these requests; unknown ids are ignored. No further output comes for them."""

    request_ids: list[str]


class Finish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a sequence ended.

    Attributes:
        matched: the stop token id (token side) or stop string (text side) that ended it.
        message: what went wrong, for `error` and `abort`.
        param: offending field, when the request itself was refused.
        code: `invalid_request`, `context_length`, `queue_full`, `engine_dead` or `internal`.
    """

    reason: FinishReason
    matched: int | str | None = None
    message: str | None = None
    param: str | None = None
    code: str | None = None


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Log-probabilities of one token: its own, the likeliest tokens' (id, logprob), best first, and the chosen ones'.

    Attributes:
        chosen: of `SamplingParams.token_ids_logprob`, in their order.
    """

    logprob: float
    top: list[tuple[int, float]] = []
    chosen: list[float] = []


class TokenDelta(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """What one step adds to one request.

    Attributes:
        token_ids: newly generated ids, usually one; a stop token is included.
        finish: set on the request's last delta.
        cached_tokens: prompt tokens that the prefix cache saved; set on the first delta.
        logprobs: one entry a token when the request asked for them, else empty.
        queue_seconds: how long the request waited for its first step; set on the first delta.
        prompt_logprobs: on the first delta of a request that asked, one entry a prompt token, from the position
            `max(1, prompt_logprobs_from)` on.
        embedding: little-endian float32 values, on the only delta of a request for an embedding.
    """

    token_ids: list[int]
    finish: Finish | None = None
    cached_tokens: int = 0
    logprobs: list[TokenLogprobs] = []
    queue_seconds: float = 0.0
    prompt_logprobs: list[TokenLogprobs] = []
    embedding: bytes = b""


class StepOutputs(msgspec.Struct, frozen=True, tag="outputs"):
    """All deltas of one step: `request_ids[i]` receives `deltas[i]`."""

    request_ids: list[str] = []
    deltas: list[TokenDelta] = []


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """Where an engine is: `downloading` (megabytes), `loading`, `compiling`, `ready`, or `dead` for good."""

    name: Literal["starting", "downloading", "loading", "compiling", "ready", "dead"]
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        unit = " MB" if self.name == "downloading" else ""
        return f"{self.name} {self.done}/{self.total}{unit}" if self.total else self.name


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True, tag="info"):
    """What the text side must know of a ready engine.

    Attributes:
        max_model_len: longest prompt plus output that a request may reach, in tokens: a limit of the model, the flags
            or the pool.
        max_total_tokens: KV pool size, in tokens.
        eos_token_ids: tokens that end a sequence unless `ignore_eos`.
        summary: human-readable start-up facts (device, memory, pages) in display order.
        hidden_size: width of the model, and of its embeddings.
        pooling: how it makes embeddings; None for an engine that generates.
    """

    model_path: str
    architecture: str
    vocab_size: int
    max_model_len: int
    max_total_tokens: int
    max_running_requests: int
    eos_token_ids: list[int]
    dtype: str
    device: str
    summary: dict[str, str] = {}
    hidden_size: int = 0
    pooling: Pooling | None = None

    @property
    def is_embedding(self) -> bool:
        """Whether the engine makes embeddings, and generates nothing."""
        return self.pooling is not None


ControlVerb = Literal["stats", "flush_cache", "ping", "pause", "continue", "start_profile", "stop_profile"]
"""What an engine is asked or told now and then. A paused engine takes requests, and computes none until it goes on."""


class Control(msgspec.Struct, frozen=True, kw_only=True, tag="control"):
    """A rare question or order to the engine, answered by one `ControlReply` with the same id."""

    control_id: str
    verb: ControlVerb


class ControlReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reply"):
    """Answer to a `Control`; `error` is set when it failed, `folder` says where a profile is written."""

    control_id: str
    stats: EngineStats | None = None
    folder: str | None = None
    error: str | None = None


class EngineClient(Protocol):
    """The six verbs through which everyone talks to an engine: in process, over ZMQ, or to a fake.

    A request's life is `submit`, then one `outputs` iteration to its end. Leaving that iteration
    early (break, cancel, exception) aborts the request.
    """

    async def submit(self, request: GenerateRequest) -> None:
        """Hands the request over. Raises `EngineDeadError` when there is no engine to take it.

        A request that the engine refuses is answered through `outputs` by a delta whose `finish`
        has reason `error` and a code.
        """

    def outputs(self, request_id: str, every: int = 1) -> AsyncIterator[TokenDelta]:
        """Deltas of a submitted request until one with `finish`; after `abort`, its reason is `abort`.

        So many tokens as `every` says may come as one delta, but for the first.

        Raises `InvalidRequestError` at once for an id that is not live, and from the iteration
        `EngineDeadError` if the engine dies.
        """

    async def abort(self, request_ids: Sequence[str]) -> None:
        """Frees the requests' slots within one step. Unknown ids are ignored.

        Don't give the id of an aborted request to a new one: what was on its way would reach that.
        """

    async def control(self, verb: ControlVerb) -> ControlReply:
        """Asks and waits for the reply. Raises `EngineDeadError` if the engine dies first."""

    def info(self) -> EngineInfo:
        """Facts about the ready engine. Raises `EngineDeadError` before it is ready or after it died."""

    async def close(self) -> None:
        """Ends the engine; idempotent."""
