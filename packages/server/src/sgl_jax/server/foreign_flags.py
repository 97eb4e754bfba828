"""SGLang's flags that have no counterpart here: which are taken without effect, which are refused and why.

A flag that becomes available moves from here to `flags`.
"""

from __future__ import annotations

import msgspec

from sgl_jax.server.flag import Kind, Value


class Neutral(msgspec.Struct, frozen=True, kw_only=True):
    """One flag that is taken as long as it asks for nothing.

    Attributes:
        accepts: the only value allowed; None allows every value.
        reason: why another value is refused, or what the log says when every value is allowed.
    """

    name: str
    kind: Kind
    accepts: Value | None = None
    reason: str
    aliases: tuple[str, ...] = ()


NEUTRAL: tuple[Neutral, ...] = (
    Neutral(
        name="trust-remote-code",
        kind=bool,
        reason="--trust-remote-code has no effect: SGL-JAX never runs code from a model folder",
    ),
    Neutral(
        name="dp-size",
        kind=int,
        accepts=1,
        aliases=("data-parallel-size", "dp"),
        reason="data parallelism is not there yet; start one server per device",
    ),
    Neutral(
        name="ep-size",
        kind=int,
        accepts=1,
        aliases=("expert-parallel-size", "ep"),
        reason="expert parallelism is not there yet",
    ),
    Neutral(name="grammar-backend", kind=str, reason="--grammar-backend has no effect: llguidance is the only one"),
    Neutral(name="tokenizer-mode", kind=str, accepts="auto", reason="there is one tokenizer implementation"),
    Neutral(name="model-impl", kind=str, accepts="auto", reason="there is one implementation of each model"),
    Neutral(
        name="enable-cache-report",
        kind=bool,
        reason="--enable-cache-report has no effect: usage always says what the prefix cache saved",
    ),
    Neutral(name="sleep-on-idle", kind=bool, reason="--sleep-on-idle has no effect: an idle engine always sleeps"),
    Neutral(
        name="enable-tokenizer-batch-encode",
        kind=bool,
        reason="--enable-tokenizer-batch-encode has no effect: the texts of a request are always encoded together",
    ),
)

_BUCKETS = "the histograms of /metrics have fixed buckets"
_LOG_REQUESTS = "prompts and answers are never logged; --access-log says who asked for what"
_PROCESSES = "--dist-init-addr, --nnodes and --node-rank say which machines there are"
_SWA = "sliding windows give back their pages by themselves"
_SPECULATIVE = "speculative decoding is not there yet"
_LORA = "LoRA adapters are not there yet"
_TORCH = "it tunes PyTorch and CUDA graphs; XLA compiles every step here"

REFUSED: dict[str, str] = {
    "allow-auto-truncate": "a prompt that is too long is refused, so that nothing is cut off unseen",
    "base-gpu-id": "choose the GPU with --device=cuda:N, or several with --device=cuda:N,M",
    "bucket-e2e-request-latency": _BUCKETS,
    "bucket-inter-token-latency": _BUCKETS,
    "bucket-time-to-first-token": _BUCKETS,
    "constrained-json-whitespace-pattern": "it belongs to outlines; llguidance decides on white space here",
    "crash-dump-folder": _LOG_REQUESTS,
    "cuda-graph-max-bs": _TORCH,
    "decode-log-interval": "the log has no periodic decode line yet",
    "disable-cuda-graph": _TORCH,
    "disable-gmm-auto-tune": "it tunes kernels for TPUs",
    "disable-hybrid-swa-memory": _SWA,
    "dist-timeout": "nodes wait five minutes for each other",
    "enable-lora": _LORA,
    "enable-metrics-for-all-schedulers": "there is one scheduler, and /metrics has it",
    "enable-mixed-chunk": "prefill chunks and decoding always share steps",
    "enable-precision-tracer": "the engine has no tracer of values",
    "enable-request-time-stats-logging": "use --otlp-traces-endpoint for the times of each request",
    "enable-torch-compile": _TORCH,
    "file-storage-path": "the server stores no files",
    "jax-num-procs": _PROCESSES,
    "jax-proc-id": _PROCESSES,
    "json-model-override-args": "edit the model's config.json instead",
    "kv-events-config": "the KV cache tells nobody of its changes",
    "log-level-http": "use --log-level and --no-access-log",
    "log-requests": _LOG_REQUESTS,
    "log-requests-level": _LOG_REQUESTS,
    "lora-paths": _LORA,
    "model-loader-extra-config": "the loader has nothing more to set",
    "pp-size": "pipeline parallelism is not planned",
    "preferred-sampling-params": "requests say how to sample",
    "quantization-param-path": "an int8 KV cache has a scale for each vector, which needs no file",
    "sampling-backend": "there is one sampler",
    "schedule-conservativeness": "admission follows the free pages, there is nothing to tune",
    "show-time-cost": "GET /get_server_info has the time of each part of a step",
    "skip-tokenizer-init": "the server always needs the tokenizer",
    "speculative-algorithm": _SPECULATIVE,
    "speculative-draft-model-path": _SPECULATIVE,
    "speculative-num-draft-tokens": _SPECULATIVE,
    "speculative-num-steps": _SPECULATIVE,
    "swa-full-tokens-ratio": _SWA,
    "warmups": "the warm-up compiles every step; --skip-warmup leaves it out",
    "watchdog-timeout": "the engine has no watchdog yet",
}
"""SGLang's flags that cannot be honoured, with the reason that the user is told."""
