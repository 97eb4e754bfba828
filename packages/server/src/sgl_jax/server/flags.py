"""The command line as data: which flags exist, which are taken without effect, which are refused and why.

A flag's name is its field's name in `ServerConfig` or `EngineConfig`, so defaults are written once.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import ATTENTION_BACKENDS, DTYPES, LOAD_FORMATS, XLA_BACKENDS, EngineConfig
from sgl_jax.server.config import LOG_LEVELS, ON_ENGINE_DEATH, ServerConfig

Value = str | int | float | bool
Kind = type[str] | type[int] | type[float] | type[bool]
Target = Literal["server", "engine"]


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag that does something.

    Attributes:
        name: as typed, without the leading dashes (`max-seq-len`).
        target: which of the two configs has the field.
        group: heading in `--help`.
        metavar: how `--help` shows the value; None for booleans.
        aliases: other spellings, mostly SGLang's or vLLM's.
    """

    name: str
    target: Target
    group: str
    kind: Kind
    help: str
    metavar: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """The config field, which is also the YAML key."""
        return self.name.replace("-", "_")

    @property
    def default(self) -> Value | None:
        """The field's default; None when it has none or is decided at start-up."""
        config: type[msgspec.Struct] = ServerConfig if self.target == "server" else EngineConfig
        for field in msgspec.structs.fields(config):
            if field.name == self.field and field.default is not msgspec.NODEFAULT:
                default: Value | None = field.default
                return default
        return None


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


def _choice(values: tuple[str, ...]) -> str:
    return "{" + ",".join(values) + "}"


_MODEL, _NETWORK, _DEVICE, _MEMORY, _SERVER = (
    "model",
    "network",
    "device and numerics",
    "memory and scheduling",
    "server",
)

FLAGS: tuple[Flag, ...] = (
    Flag(
        name="model-path",
        target="engine",
        group=_MODEL,
        kind=str,
        metavar="PATH",
        aliases=("model",),
        help="Hugging Face model folder or .gguf file; without it, the small built-in model is served",
    ),
    Flag(
        name="tokenizer-path",
        target="engine",
        group=_MODEL,
        kind=str,
        metavar="PATH",
        help="folder or file of the tokenizer, when it does not lie with the model",
    ),
    Flag(
        name="served-model-name",
        target="server",
        group=_MODEL,
        kind=str,
        metavar="NAME",
        help="the model's name in the API (default: the folder's or file's name)",
    ),
    Flag(
        name="chat-template",
        target="server",
        group=_MODEL,
        kind=str,
        metavar="FILE",
        help="Jinja chat template to use instead of the model's own",
    ),
    Flag(
        name="load-format",
        target="engine",
        group=_MODEL,
        kind=str,
        metavar=_choice(LOAD_FORMATS),
        help="format of the weights; auto looks at the path",
    ),
    Flag(
        name="max-seq-len",
        target="engine",
        group=_MODEL,
        kind=int,
        metavar="TOKENS",
        aliases=("context-length", "max-model-len"),
        help="longest prompt plus output (default: the model's own limit)",
    ),
    Flag(
        name="host",
        target="server",
        group=_NETWORK,
        kind=str,
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 is reachable from other machines",
    ),
    Flag(name="port", target="server", group=_NETWORK, kind=int, metavar="N", help="TCP port; 0 takes any free one"),
    Flag(
        name="device",
        target="engine",
        group=_DEVICE,
        kind=str,
        metavar="{auto,cpu,cuda,cuda:N,fake}",
        help="where to compute; fake makes up tokens, to try the server without a model",
    ),
    Flag(
        name="dtype",
        target="engine",
        group=_DEVICE,
        kind=str,
        metavar=_choice(DTYPES),
        help="type of weights and computation; auto is bfloat16 on GPU and float32 on CPU",
    ),
    Flag(
        name="attention-backend",
        target="engine",
        group=_DEVICE,
        kind=str,
        metavar=_choice(ATTENTION_BACKENDS),
        help="attention kernels; reference is slow and exact",
    ),
    Flag(
        name="xla-backend",
        target="engine",
        group=_DEVICE,
        kind=str,
        metavar=_choice(XLA_BACKENDS),
        help="kept for SGLang-JAX command lines; there is one",
    ),
    Flag(
        name="random-seed",
        target="engine",
        group=_DEVICE,
        kind=int,
        metavar="N",
        help="base of the seeds given to requests without one",
    ),
    Flag(
        name="skip-warmup",
        target="engine",
        group=_DEVICE,
        kind=bool,
        aliases=("skip-server-warmup",),
        help="compile on first use instead of before the server is ready",
    ),
    Flag(
        name="mem-fraction-static",
        target="engine",
        group=_MEMORY,
        kind=float,
        metavar="SHARE",
        help="share of device memory for weights and KV pool (default: fits the device)",
    ),
    Flag(
        name="max-total-tokens",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="TOKENS",
        help="size of the KV pool (default: from free memory)",
    ),
    Flag(name="page-size", target="engine", group=_MEMORY, kind=int, metavar="TOKENS", help="tokens in a KV page"),
    Flag(
        name="max-running-requests",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="N",
        help="sequences computed at the same time at most (default: fits the device)",
    ),
    Flag(
        name="max-queued-requests",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="N",
        help="sequences waiting at most; beyond it requests are answered 429",
    ),
    Flag(
        name="max-prefill-tokens",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="TOKENS",
        help="prompt tokens of all requests computed in one step at most",
    ),
    Flag(
        name="chunked-prefill-size",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="TOKENS",
        help="prompt tokens of one request computed in one step at most (default: fits the device)",
    ),
    Flag(
        name="log-level",
        target="server",
        group=_SERVER,
        kind=str,
        metavar=_choice(LOG_LEVELS),
        help="least severe level that is logged; debug adds tracebacks",
    ),
    Flag(
        name="max-body-bytes",
        target="server",
        group=_SERVER,
        kind=int,
        metavar="BYTES",
        help="larger request bodies are answered 413",
    ),
    Flag(
        name="strict-fields",
        target="server",
        group=_SERVER,
        kind=bool,
        help="refuse request fields that the server does not know, rather than ignore them",
    ),
    Flag(
        name="drain-seconds",
        target="server",
        group=_SERVER,
        kind=float,
        metavar="SECONDS",
        help="how long running requests may go on after SIGTERM or Ctrl-C",
    ),
    Flag(
        name="on-engine-death",
        target="server",
        group=_SERVER,
        kind=str,
        metavar=_choice(ON_ENGINE_DEATH),
        help="when the engine crashes, exit with an error, or stay and say so on /health",
    ),
)

NEUTRAL: tuple[Neutral, ...] = (
    Neutral(
        name="trust-remote-code",
        kind=bool,
        reason="--trust-remote-code has no effect: SGL-JAX never runs code from a model folder",
    ),
    Neutral(
        name="download-dir",
        kind=str,
        reason="--download-dir has no effect yet: models are read from local paths only",
    ),
    Neutral(
        name="dist-init-addr",
        kind=str,
        aliases=("nccl-init-addr",),
        reason="--dist-init-addr has no effect with one node",
    ),
    Neutral(name="nnodes", kind=int, accepts=1, reason="serving from several machines is not there yet"),
    Neutral(name="node-rank", kind=int, accepts=0, reason="serving from several machines is not there yet"),
    Neutral(
        name="tp-size",
        kind=int,
        accepts=1,
        aliases=("tensor-parallel-size", "tp"),
        reason="tensor parallelism is not there yet",
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
    Neutral(name="kv-cache-dtype", kind=str, accepts="auto", reason="the KV cache has the type of --dtype only"),
    Neutral(name="schedule-policy", kind=str, accepts="fcfs", reason="first come, first served is the only policy yet"),
    Neutral(name="tokenizer-mode", kind=str, accepts="auto", reason="there is one tokenizer implementation"),
)

_SPECULATIVE = "speculative decoding is not there yet"
_LORA = "LoRA adapters are not there yet"
_METRICS = "/metrics is not there yet"
_GRAMMAR = "structured output is not there yet"
_TORCH = "it tunes PyTorch and CUDA graphs; XLA compiles every step here"

REFUSED: dict[str, str] = {
    "admin-api-key": "key checks are not there yet; put a proxy in front or listen on 127.0.0.1",
    "api-key": "key checks are not there yet; put a proxy in front or listen on 127.0.0.1",
    "base-gpu-id": "choose the GPU with --device=cuda:N",
    "cuda-graph-max-bs": _TORCH,
    "decode-log-interval": "the log has no periodic decode line yet",
    "disable-cuda-graph": _TORCH,
    "disable-overlap-schedule": "scheduling always overlaps with the device",
    "disable-radix-cache": "the prefix cache cannot be switched off yet",
    "enable-lora": _LORA,
    "enable-metrics": _METRICS,
    "enable-mixed-chunk": "prefill chunks and decoding always share steps",
    "enable-torch-compile": _TORCH,
    "grammar-backend": _GRAMMAR,
    "is-embedding": "embedding models are not there yet",
    "json-model-override-args": "edit the model's config.json instead",
    "log-file": "send the log to a file with '2>server.log'",
    "lora-paths": _LORA,
    "pp-size": "pipeline parallelism is not planned",
    "quantization": "quantizing at load time is not there yet; a quantized .gguf file works",
    "reasoning-parser": "splitting reasoning from the answer is not there yet",
    "revision": "models are read from local paths only yet",
    "sampling-backend": "there is one sampler",
    "schedule-conservativeness": "admission follows the free pages, there is nothing to tune",
    "skip-tokenizer-init": "the server always needs the tokenizer",
    "speculative-algorithm": _SPECULATIVE,
    "speculative-draft-model-path": _SPECULATIVE,
    "speculative-num-draft-tokens": _SPECULATIVE,
    "speculative-num-steps": _SPECULATIVE,
    "ssl-certfile": "TLS is not there yet; put a proxy in front",
    "ssl-keyfile": "TLS is not there yet; put a proxy in front",
    "stream-interval": "every token is streamed as it comes",
    "tool-call-parser": "tool calls are not there yet",
    "watchdog-timeout": "the engine has no watchdog yet",
}
"""SGLang's flags that cannot be honoured, with the reason that the user is told."""
