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
    Neutral(name="grammar-backend", kind=str, reason="--grammar-backend has no effect: llguidance is the only one"),
    Neutral(name="tokenizer-mode", kind=str, accepts="auto", reason="there is one tokenizer implementation"),
)

_SPECULATIVE = "speculative decoding is not there yet"
_LORA = "LoRA adapters are not there yet"
_TORCH = "it tunes PyTorch and CUDA graphs; XLA compiles every step here"

REFUSED: dict[str, str] = {
    "base-gpu-id": "choose the GPU with --device=cuda:N",
    "cuda-graph-max-bs": _TORCH,
    "decode-log-interval": "the log has no periodic decode line yet",
    "disable-cuda-graph": _TORCH,
    "enable-lora": _LORA,
    "enable-mixed-chunk": "prefill chunks and decoding always share steps",
    "enable-torch-compile": _TORCH,
    "json-model-override-args": "edit the model's config.json instead",
    "lora-paths": _LORA,
    "pp-size": "pipeline parallelism is not planned",
    "sampling-backend": "there is one sampler",
    "schedule-conservativeness": "admission follows the free pages, there is nothing to tune",
    "skip-tokenizer-init": "the server always needs the tokenizer",
    "speculative-algorithm": _SPECULATIVE,
    "speculative-draft-model-path": _SPECULATIVE,
    "speculative-num-draft-tokens": _SPECULATIVE,
    "speculative-num-steps": _SPECULATIVE,
    "stream-interval": "every token is streamed as it comes",
    "watchdog-timeout": "the engine has no watchdog yet",
}
"""SGLang's flags that cannot be honoured, with the reason that the user is told."""
