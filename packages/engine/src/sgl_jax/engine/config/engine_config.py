"""The engine's flags. One frozen struct, spelled like the command line (`--max-running-requests`)."""

from __future__ import annotations

import msgspec

from sgl_jax.engine.errors import ConfigError

DTYPES = ("auto", "float32", "bfloat16")
KV_CACHE_DTYPES = ("auto", "float32", "bfloat16", "fp8_e4m3", "fp8_e5m2", "int8")
QUANTIZATIONS = ("auto", "none", "gguf", "int8", "int4", "fp8")
LOAD_FORMATS = ("auto", "safetensors", "gguf", "dummy")
ATTENTION_BACKENDS = ("auto", "native", "pallas", "cudnn", "xla", "reference")
XLA_BACKENDS = ("auto", "native")
CPU_KERNELS = ("auto", "native", "xla")
SCHEDULE_POLICIES = ("fcfs", "lpm", "priority")


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the engine is told; what is None is decided from the model and the device.

    Attributes:
        model_path: a Hugging Face model folder, a `.gguf` file, or a hub id (`organisation/name`, or
            `organisation/name:file.gguf`).
        tokenizer_path: where the tokenizer lies, when not with the model; a path or a hub id.
        revision: branch, tag or commit of a hub id; None is the main branch.
        download_dir: the cache for what the hub sends; None is the hub's own.
        dtype: compute and weight type; `auto` is bfloat16 on GPU and with native CPU kernels, and else float32.
        quantization: `int8`, `int4` or `fp8` pack the layers' matrices while loading; `gguf` keeps a GGUF file's Q8_0,
            Q4_0 and Q4_1 matrices packed, `none` unpacks them; `auto` is what suits the device.
        device: `auto`, `cpu`, `cuda`, `cuda:0` or, for several, `cuda:0,1`; `fake` runs the host path without a model.
        tp_size: devices that share the model, each with a part of its heads and widths (tensor parallelism).
        nnodes: machines that these devices are spread over evenly; each runs an engine of its own, with the same flags.
        node_rank: which of them this is; node 0 plans all steps, and answers.
        dist_init_addr: host:port of node 0 as the others reach it, where they meet; of no use to a single node.
        load_format: `auto` looks at the files; `dummy` makes up weights from the config alone.
        attention_backend: `auto` (alias `native`) is our C++ kernels where they compute (`cpu_kernels`), `pallas` on
            NVIDIA GPUs (our kernels there), and else plain XLA; `cudnn` is `pallas` with fresh prompts left to cuDNN;
            `xla` is always plain XLA; `reference` is the oracle.
        is_embedding: make embeddings of texts instead of generating; the model's folder says how, see `pooling`.
        cpu_kernels: on CPU, `native` computes with our C++ kernels, compiled at first use, `xla` without; `auto` is
            `native` where there is a C++ compiler and the processor has AVX2.
        cpu_threads: threads of the native kernels; None is as many as this process may use cores.
        max_seq_len: longest prompt plus output; None is the model's own limit.
        page_size: tokens a KV page.
        kv_cache_dtype: type of stored keys and values; `auto` is the compute type. `int8` has a scale a vector.
        max_total_tokens: KV pool size in tokens; None sizes it from free memory.
        mem_fraction_static: share of device memory for weights and KV pool; None is the device's default.
        max_running_requests: sequences in flight at most; None is the device's default.
        max_queued_requests: sequences waiting for a slot at most; beyond it requests are refused.
        chunked_prefill_size: prompt tokens of one request computed in one step at most.
        max_prefill_tokens: prompt tokens of all requests computed in one step at most.
        schedule_policy: order of admission: `fcfs`, `lpm` (longest cached prefix) or `priority`.
        disable_radix_cache: forget a sequence's pages when it ends.
        disable_overlap_schedule: wait for each step's tokens before planning the next one.
        precompile_bs_paddings: numbers of sequences that steps are compiled for; None is 1, 2, 4, … and the most.
        precompile_token_paddings: numbers of tokens that steps with prompts are compiled for; likewise.
        random_seed: base of the seeds given to requests without one.
        skip_warmup: compile lazily, on first use.
    """

    model_path: str
    tokenizer_path: str | None = None
    revision: str | None = None
    download_dir: str | None = None
    dtype: str = "auto"
    quantization: str = "auto"
    device: str = "auto"
    tp_size: int = 1
    nnodes: int = 1
    node_rank: int = 0
    dist_init_addr: str | None = None
    load_format: str = "auto"
    attention_backend: str = "auto"
    xla_backend: str = "auto"
    cpu_kernels: str = "auto"
    cpu_threads: int | None = None
    is_embedding: bool = False
    max_seq_len: int | None = None
    page_size: int = 16
    kv_cache_dtype: str = "auto"
    max_total_tokens: int | None = None
    mem_fraction_static: float | None = None
    max_running_requests: int | None = None
    max_queued_requests: int = 4096
    chunked_prefill_size: int | None = None
    max_prefill_tokens: int = 8192
    schedule_policy: str = "fcfs"
    disable_radix_cache: bool = False
    disable_overlap_schedule: bool = False
    precompile_bs_paddings: tuple[int, ...] | None = None
    precompile_token_paddings: tuple[int, ...] | None = None
    random_seed: int = 0
    skip_warmup: bool = False

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("kv_cache_dtype", self.kv_cache_dtype, KV_CACHE_DTYPES)
        _one_of("quantization", self.quantization, QUANTIZATIONS)
        _one_of("load_format", self.load_format, LOAD_FORMATS)
        _one_of("attention_backend", self.attention_backend, ATTENTION_BACKENDS)
        _one_of("xla_backend", self.xla_backend, XLA_BACKENDS)
        _one_of("cpu_kernels", self.cpu_kernels, CPU_KERNELS)
        _one_of("schedule_policy", self.schedule_policy, SCHEDULE_POLICIES)
        for name in ("max_seq_len", "max_total_tokens", "max_running_requests", "chunked_prefill_size", "cpu_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{_flag(name)} must be at least 1, got {value}.")
        for name in ("precompile_bs_paddings", "precompile_token_paddings"):
            if any(value < 1 for value in getattr(self, name) or ()):
                raise ConfigError(f"{_flag(name)} must list numbers of at least 1, got {getattr(self, name)}.")
        listed = self.device.partition(":")[2].count(",") + 1
        if listed > 1 and listed != self.tp_size:
            raise ConfigError(f"--device={self.device} names {listed} devices: --tp-size must be {listed} too.")
        if self.device.startswith("cuda:") and listed < self.tp_size:
            raise ConfigError(f"--tp-size={self.tp_size} needs as many devices, --device={self.device} names {listed}.")
        self._check_nodes()
        for name in ("max_prefill_tokens", "max_queued_requests", "tp_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{_flag(name)} must be at least 1, got {getattr(self, name)}.")
        if self.page_size < 1 or self.page_size & (self.page_size - 1):
            raise ConfigError(f"--page-size must be a power of two, got {self.page_size}.")
        if self.mem_fraction_static is not None and not 0 < self.mem_fraction_static < 1:
            raise ConfigError(f"--mem-fraction-static must lie between 0 and 1, got {self.mem_fraction_static}.")

    def _check_nodes(self) -> None:
        if self.nnodes < 1 or not 0 <= self.node_rank < self.nnodes:
            raise ConfigError(
                f"--nnodes must be at least 1 and --node-rank lie in [0, nnodes), got --nnodes={self.nnodes} "
                f"--node-rank={self.node_rank}."
            )
        if self.nnodes == 1:
            return
        if self.tp_size % self.nnodes:
            raise ConfigError(f"--tp-size={self.tp_size} must be a multiple of --nnodes={self.nnodes}.")
        if ":" in self.device or self.device == "fake":
            raise ConfigError(f"--device={self.device} names one node's devices; with --nnodes say cuda or cpu.")
        host, port = self.node_0
        if not host or "/" in host or not 0 < port < 1 << 16:
            raise ConfigError(
                f"--nnodes={self.nnodes} needs --dist-init-addr=HOST:PORT, an address of node 0 that all nodes reach."
            )

    @property
    def node_0(self) -> tuple[str, int]:
        """Host and port of `dist_init_addr`, without the brackets of an IPv6 host; port 0 where it is none."""
        host, _, port = (self.dist_init_addr or "").rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port) if port.isdecimal() else 0


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{_flag(name)} must be one of {', '.join(allowed)}, got {value!r}.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
