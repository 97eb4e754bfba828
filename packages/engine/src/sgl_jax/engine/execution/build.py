"""From flags to a running executor: device, weights, pool. The only place that joins all of them."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention import backends
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_files import ModelFiles
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.cpu_kernels.library import Library
from sgl_jax.engine.errors import ConfigError, ModelLoadError, SglJaxError
from sgl_jax.engine.execution import kv_pool
from sgl_jax.engine.execution.device_env import programs_folder
from sgl_jax.engine.execution.executor import DeviceExecutor
from sgl_jax.engine.execution.kernels import describe, find_kernels
from sgl_jax.engine.execution.load import load_model
from sgl_jax.engine.execution.program_store import ProgramStore, own_folder
from sgl_jax.engine.execution.step import Run, StepModel
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.models.decoder import DecoderLayer
from sgl_jax.engine.models.registry import model_class
from sgl_jax.engine.plan import ProgressCallback, StepLimits

logger = logging.getLogger(__name__)

_SHAPES_NO_PROGRAM = frozenset(
    {
        *("model_path", "tokenizer_path", "revision", "download_dir", "load_format", "skip_warmup", "random_seed"),
        *("max_queued_requests", "schedule_policy", "disable_radix_cache", "disable_overlap_schedule"),
        *("mem_fraction_static", "max_total_tokens", "max_running_requests", "max_prefill_tokens"),
        *("precompile_bs_paddings", "precompile_token_paddings"),
    }
)
"""Flags that leave programs as they are, or show in the shapes of their arguments."""


def build_executor(
    config: EngineConfig, files: ModelFiles, spec: ModelSpec, on_progress: ProgressCallback
) -> tuple[DeviceExecutor, dict[str, str]]:
    """Loads the weights onto the device and allocates the KV pool.

    Returns:
        The executor, not warmed up, and start-up facts for people (`EngineInfo.summary`).

    Raises:
        ModelLoadError, ConfigError: as in `core.build_core`.
    """
    device = find_device(config.device)
    on_cpu = device.platform == "cpu"
    kernels = find_kernels(config, device)
    is_plain_cpu = on_cpu and kernels is None
    dtype = jnp.dtype(("float32" if is_plain_cpu else "bfloat16") if config.dtype == "auto" else config.dtype)
    # The kernels take matrices in the type that was asked for; all the rest is small, and XLA is best at float32.
    rest_dtype = dtype if kernels is None else jnp.dtype(jnp.float32)
    max_seq_len = config.max_seq_len or spec.max_position_embeddings
    try:
        attention = backends.choose(config.attention_backend, has_kernels=kernels is not None)
        model = _step_model(config, spec, rest_dtype, max_seq_len, attention, on_cpu=on_cpu)
    except SglJaxError:
        raise
    except Exception as error:  # fields that only this family has, and that nobody checked
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelLoadError(f"config.json describes no {spec.architecture} that can be built ({reason}).") from error
    model, params, weights = load_model(
        *(model, files, spec, config.quantization, rest_dtype, device),
        tiled_dtype=None if kernels is None else dtype,
        free_bytes=_free_bytes(device),
        on_progress=on_progress,
    )

    pool = kv_pool.plan_pool(config, spec, dtype, device, _free_bytes(device))
    limits, max_slots = _limits(config, on_cpu=on_cpu)
    if model.window is None:  # nothing gets longer than the pool, so that block tables need not be
        max_seq_len = min(max_seq_len, pool.num_tokens)
    executor = DeviceExecutor(
        model,
        params,
        kv_pool.make_pools(pool, spec, device, stacked=model.stacked),
        page_size=pool.page_size,
        num_pages=pool.num_pages,
        max_slots=max_slots,
        max_seq_len=max_seq_len,
        hidden_size=spec.hidden_size,
        vocab_size=spec.vocab_size,
        limits=limits,
        device=device,
        programs=ProgramStore(
            _described(config, spec, model, max_seq_len, kernels), device, own_folder(programs_folder())
        ),
        row_rungs=config.precompile_bs_paddings,
        token_rungs=config.precompile_token_paddings,
    )
    summary = {
        "device": f"{device.platform} ({device.device_kind})",
        "dtype": str(dtype),
        "weights": weights,
        "KV pool": str(pool),
        **({"CPU kernels": describe(kernels)} if on_cpu else {}),
        "limits": f"{max_seq_len} tokens a sequence, {max_slots} running, {limits.max_tokens} tokens a step",
    }
    return executor, summary


def _described(
    config: EngineConfig, spec: ModelSpec, model: StepModel, max_seq_len: int, kernels: Library | None
) -> str:
    """All that makes one model's programs differ from another's, besides the shapes of their arguments."""
    flags = [f"{name}={getattr(config, name)}" for name in config.__struct_fields__ if name not in _SHAPES_NO_PROGRAM]
    leaves = [list(model.ends.leaves), *((list(run.layer.leaves), run.length) for run in model.runs)]
    chosen = f"stacked={model.stacked} max_seq_len={max_seq_len} native={kernels is not None}"
    return "\n".join([*flags, repr(spec), str(leaves), chosen])


def find_device(name: str) -> jax.Device:
    """The JAX device for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: there is no such device; the message says what there is and what to install.
    """
    if name == "auto":
        return jax.devices()[0]
    platform, _, index = name.partition(":")
    if platform not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ConfigError(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}.")
    try:
        devices = jax.devices("gpu" if platform == "cuda" else "cpu")
    except RuntimeError as error:
        raise ConfigError(
            f"--device={name}: JAX sees no such device here (it sees {jax.devices()}). For NVIDIA GPUs install the "
            "extra sgl-jax-engine[cuda12] or sgl-jax-engine[cuda13], whichever your driver supports."
        ) from error
    if int(index or 0) >= len(devices):
        raise ConfigError(f"--device={name}: there are only {len(devices)} {platform} devices.")
    return devices[int(index or 0)]


def stacks_layers(dtype: jnp.dtype, *, on_cpu: bool) -> bool:
    """Whether the step scans over stacked layers instead of unrolling them.

    Scanning is as fast as unrolling for float32 on CPU and compiles in a third of the time; for
    bfloat16 the scan converts whole stacks of weights, and on GPU it would break the CUDA graph.
    """
    return on_cpu and dtype == jnp.float32


def _step_model(
    config: EngineConfig,
    spec: ModelSpec,
    dtype: jnp.dtype,
    max_seq_len: int,
    attention: backends.PagedAttention,
    *,
    on_cpu: bool,
) -> StepModel:
    family = model_class(spec.architecture)
    return StepModel(
        ends=Template(lambda: family(spec, dtype=dtype)),
        runs=_runs(family.layers(spec), spec, dtype),
        kinds=family.layer_kinds(spec),
        ropes=family.ropes(spec, max_seq_len),
        stacked=stacks_layers(dtype, on_cpu=on_cpu),
        activation_dtype=jnp.dtype(jnp.float32) if on_cpu else dtype,
        attention=attention,
        draws=not config.is_embedding,
    )


def _runs(layers: Sequence[type[DecoderLayer]], spec: ModelSpec, dtype: jnp.dtype) -> tuple[Run, ...]:
    """Consecutive layers of one class as one run; all runs of a class share its template."""
    templates = {layer: Template(functools.partial(layer, spec, dtype=dtype)) for layer in dict.fromkeys(layers)}
    runs = []
    for layer, same in itertools.groupby(layers):
        template = templates[layer]
        pooled = frozenset(name for name in template.leaves if name.startswith(layer.POOLED))
        runs.append(Run(template, len(list(same)), pooled))
    return tuple(runs)


def _limits(config: EngineConfig, *, on_cpu: bool) -> tuple[StepLimits, int]:
    """Bounds of a step, and how many requests run at once."""
    max_slots = config.max_running_requests or (32 if on_cpu else 256)
    chunk = config.chunked_prefill_size or (256 if on_cpu else 2048)
    # A step must hold one token of every running request, or decoding would take turns.
    max_tokens = max(min(chunk, config.max_prefill_tokens), max_slots)
    return StepLimits(max_tokens, min(chunk, max_tokens)), max_slots


def _free_bytes(device: jax.Device) -> int:
    """Memory that the pool may draw on: what the device has left, or the machine's available RAM."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats["bytes_in_use"])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
