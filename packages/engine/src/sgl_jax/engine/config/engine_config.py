"""The engine's flags. One frozen struct, spelled like the command line (`--max-running-requests`)."""

from __future__ import annotations

import msgspec

from sgl_jax.engine.errors import ConfigError

DTYPES = ("auto", "float32", "bfloat16")
LOAD_FORMATS = ("auto", "safetensors", "gguf")
ATTENTION_BACKENDS = ("auto", "native", "xla", "reference")
XLA_BACKENDS = ("auto", "native")
SCHEDULE_POLICIES = ("fcfs", "lpm", "priority")


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the engine is told; what is None is decided from the model and the device.

    Attributes:
        model_path: a Hugging Face model folder or a `.gguf` file.
        tokenizer_path: where the tokenizer lies, when not with the model.
        dtype: compute and weight type; `auto` is bfloat16 on GPU and float32 on CPU.
        device: `auto`, `cpu`, `cuda` or `cuda:0`; `fake` runs the host path without a model.
        load_format: `auto` looks at the path.
        attention_backend: `native` (alias `auto`, `xla`) is the best plain-XLA path; `reference` is the oracle.
        max_seq_len: longest prompt plus output; None is the model's own limit.
        page_size: tokens a KV page.
        max_total_tokens: KV pool size in tokens; None sizes it from free memory.
        mem_fraction_static: share of device memory for weights and KV pool; None is the device's default.
        max_running_requests: sequences in flight at most; None is the device's default.
        max_queued_requests: sequences waiting at most; beyond it requests are refused.
        chunked_prefill_size: prompt tokens of one request computed in one step at most.
        max_prefill_tokens: prompt tokens of all requests computed in one step at most.
        schedule_policy: order of admission: `fcfs`, `lpm` (longest cached prefix) or `priority`.
        disable_radix_cache: forget a sequence's pages when it ends.
        disable_overlap_schedule: wait for each step's tokens before planning the next one.
        random_seed: base of the seeds given to requests without one.
        skip_warmup: compile lazily, on first use.
    """

    model_path: str
    tokenizer_path: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    load_format: str = "auto"
    attention_backend: str = "auto"
    xla_backend: str = "auto"
    max_seq_len: int | None = None
    page_size: int = 16
    max_total_tokens: int | None = None
    mem_fraction_static: float | None = None
    max_running_requests: int | None = None
    max_queued_requests: int = 4096
    chunked_prefill_size: int | None = None
    max_prefill_tokens: int = 8192
    schedule_policy: str = "fcfs"
    disable_radix_cache: bool = False
    disable_overlap_schedule: bool = False
    random_seed: int = 0
    skip_warmup: bool = False

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("load_format", self.load_format, LOAD_FORMATS)
        _one_of("attention_backend", self.attention_backend, ATTENTION_BACKENDS)
        _one_of("xla_backend", self.xla_backend, XLA_BACKENDS)
        _one_of("schedule_policy", self.schedule_policy, SCHEDULE_POLICIES)
        for name in ("max_seq_len", "max_total_tokens", "max_running_requests", "chunked_prefill_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{_flag(name)} must be at least 1, got {value}.")
        for name in ("max_prefill_tokens", "max_queued_requests"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{_flag(name)} must be at least 1, got {getattr(self, name)}.")
        if self.page_size < 1 or self.page_size & (self.page_size - 1):
            raise ConfigError(f"--page-size must be a power of two, got {self.page_size}.")
        if self.mem_fraction_static is not None and not 0 < self.mem_fraction_static < 1:
            raise ConfigError(f"--mem-fraction-static must lie between 0 and 1, got {self.mem_fraction_static}.")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{_flag(name)} must be one of {', '.join(allowed)}, got {value!r}.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
