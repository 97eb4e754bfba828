"""From flags to a running executor: device, weights, pool. The only place that joins all of them."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import msgspec
from flax import nnx

from sgl_jax.engine.attention import backends
from sgl_jax.engine.attention.cudnn import why_no_cudnn
from sgl_jax.engine.attention.pallas_gpu.limits import why_no_pallas
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_files import ModelFiles
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.cpu_kernels.library import Library
from sgl_jax.engine.errors import ModelLoadError, SglJaxError
from sgl_jax.engine.execution import kv_pool
from sgl_jax.engine.execution.device_env import programs_folder
from sgl_jax.engine.execution.devices import find_devices, free_bytes
from sgl_jax.engine.execution.executor import DeviceExecutor
from sgl_jax.engine.execution.kernels import describe, find_kernels
from sgl_jax.engine.execution.load import load_model
from sgl_jax.engine.execution.program_store import ProgramStore, own_folder
from sgl_jax.engine.execution.spread import Spread, share_template
from sgl_jax.engine.execution.spread import describe as describe_devices
from sgl_jax.engine.execution.step import Run, StepModel
from sgl_jax.engine.execution.step_memory import reserved_bytes
from sgl_jax.engine.execution.xla_options import program_options
from sgl_jax.engine.layers.moe import GroupedProduct, with_product
from sgl_jax.engine.models.base import AddNorm, Template
from sgl_jax.engine.models.decoder import DecoderLayer
from sgl_jax.engine.models.registry import model_class
from sgl_jax.engine.parallel.mesh import is_here, make_mesh
from sgl_jax.engine.parallel.share import share_of
from sgl_jax.engine.parallel.vocabulary import SharedVocabulary
from sgl_jax.engine.plan import ProgressCallback, StepLimits
from sgl_jax.engine.quantization.matrix import PackedProduct
from sgl_jax.engine.sampling.draw import draw
from sgl_jax.engine.sampling.native import native_draw

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=nnx.Module)

_SHAPES_NO_PROGRAM = frozenset(
    {
        *("model_path", "tokenizer_path", "revision", "download_dir", "load_format", "skip_warmup", "random_seed"),
        *("max_queued_requests", "schedule_policy", "disable_radix_cache", "disable_overlap_schedule"),
        *("mem_fraction_static", "max_total_tokens", "max_running_requests", "max_prefill_tokens"),
        *("precompile_bs_paddings", "precompile_token_paddings", "node_rank", "dist_init_addr"),
    }
)
"""Flags that leave programs as they are, or show in the shapes of their arguments or in their names."""


def build_executor(
    config: EngineConfig, files: ModelFiles, spec: ModelSpec, on_progress: ProgressCallback
) -> tuple[DeviceExecutor, dict[str, str]]:
    """Loads the weights onto the device and allocates the KV pool. Several nodes have met before (`meeting`).

    Returns:
        The executor, not warmed up, and start-up facts for people (`EngineInfo.summary`).

    Raises:
        ModelLoadError, ConfigError: as in `startup.build_core`.
    """
    devices = find_devices(config.device, config.tp_size, config.nnodes)
    device = next(device for device in devices if is_here(device))
    on_cpu = device.platform == "cpu"
    kernels = find_kernels(config, device)
    is_plain_cpu = on_cpu and kernels is None
    dtype = jnp.dtype(("float32" if is_plain_cpu else "bfloat16") if config.dtype == "auto" else config.dtype)
    # The kernels take matrices in the type that was asked for; all the rest is small, and XLA is best at float32.
    rest_dtype = dtype if kernels is None else jnp.dtype(jnp.float32)
    max_seq_len = config.max_seq_len or spec.max_position_embeddings
    try:
        attention = backends.choose(
            config.attention_backend,
            has_kernels=kernels is not None,
            exact=dtype == jnp.float32,
            platform=device.platform,
            without_pallas=why_no_pallas(device, spec.cache.head_dim, config.kv_cache_dtype),
            without_cudnn=_why_no_cudnn(config, spec, dtype, device),
        )
        model = step_model(config, spec, rest_dtype, max_seq_len, attention, on_cpu=on_cpu)
        if kernels is not None and model.draw is not None:
            model = model._replace(draw=native_draw)
        spread = None
        if len(devices) > 1:
            share = share_of(spec, len(devices))
            of_share = step_model(config, spec, rest_dtype, max_seq_len, attention, on_cpu=on_cpu, share=share)
            spread = Spread(make_mesh(devices), share, of_share)
    except SglJaxError:
        raise
    except Exception as error:  # fields that only this family has, and that nobody checked
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelLoadError(f"config.json describes no {spec.architecture} that can be built ({reason}).") from error
    model, params, weights = load_model(
        *(model, files, spec, config.quantization, rest_dtype, device),
        tiled_dtype=None if kernels is None else dtype,
        spread=spread,
        free_bytes=free_bytes(devices) * len(devices),
        on_progress=on_progress,
    )

    pool_spec = spec if spread is None else spread.share
    has_tiles = kernels is not None and kernels.has_tiles and dtype != jnp.float32
    limits, max_slots = _limits(config, on_cpu=on_cpu, chunk=2048 if not on_cpu else 512 if has_tiles else 256)
    # Devices gather the logits, and each remembers all tokens of each slot.
    step_spec = msgspec.structs.replace(pool_spec, vocab_size=spec.vocab_size)
    steps_bytes = 0 if on_cpu else reserved_bytes(step_spec, limits, max_slots, dtype.itemsize)
    pool = kv_pool.plan_pool(config, pool_spec, dtype, device, max(free_bytes(devices) - steps_bytes, 0))
    pools = kv_pool.make_pools(
        *(pool, pool_spec, device), stacked=model.stacked, spread=None if spread is None else spread.pages
    )
    if model.window is None:  # nothing gets longer than the pool, so that block tables need not be
        max_seq_len = min(max_seq_len, pool.num_tokens)
    executor = DeviceExecutor(
        model,
        params,
        pools,
        page_size=pool.page_size,
        num_pages=pool.num_pages,
        max_slots=max_slots,
        max_seq_len=max_seq_len,
        hidden_size=spec.hidden_size,
        vocab_size=spec.vocab_size,
        limits=limits,
        device=device,
        mesh=None if spread is None else spread.mesh,
        programs=ProgramStore(
            _described(config, spec, model, max_seq_len, kernels),
            devices,
            # A program for several nodes is one of each node's own, and they must all be found or all be compiled.
            own_folder(programs_folder()) if config.nnodes == 1 else None,
            program_options(device.platform, len(devices)),
        ),
        row_rungs=config.precompile_bs_paddings,
        token_rungs=config.precompile_token_paddings,
    )
    summary = {
        "device": describe_devices(devices),
        "dtype": str(dtype),
        "weights": weights,
        "KV pool": str(pool),
        **({"CPU kernels": describe(kernels)} if on_cpu else {}),
        "limits": f"{max_seq_len} tokens a sequence, {max_slots} running, {limits.max_tokens} tokens a step",
    }
    return executor, summary


def _why_no_cudnn(config: EngineConfig, spec: ModelSpec, dtype: jnp.dtype, device: jax.Device) -> str | None:
    """Asked only where it was asked for, because JAX loads the library to answer."""
    if config.attention_backend != "cudnn":
        return None
    heads, cache = spec.num_heads, spec.cache
    return why_no_cudnn(
        device, heads=heads, kv_heads=cache.heads, head_dim=cache.head_dim, dtype=dtype, num_devices=config.tp_size
    )


def _described(
    config: EngineConfig, spec: ModelSpec, model: StepModel, max_seq_len: int, kernels: Library | None
) -> str:
    """All that makes one model's programs differ from another's, besides the shapes of their arguments."""
    flags = [f"{name}={getattr(config, name)}" for name in config.__struct_fields__ if name not in _SHAPES_NO_PROGRAM]
    leaves = [list(model.ends.leaves), *((list(run.layer.leaves), run.length) for run in model.runs)]
    chosen = f"stacked={model.stacked} max_seq_len={max_seq_len} native={kernels is not None}"
    return "\n".join([*flags, repr(spec), str(leaves), chosen])


def stacks_layers(dtype: jnp.dtype, *, on_cpu: bool) -> bool:
    """Whether the step scans over stacked layers instead of unrolling them.

    Scanning is as fast as unrolling for float32 on CPU and compiles in a third of the time; for
    bfloat16 the scan converts whole stacks of weights, and on GPU it would break the CUDA graph.
    """
    return on_cpu and dtype == jnp.float32


def step_model(
    config: EngineConfig,
    spec: ModelSpec,
    dtype: jnp.dtype,
    max_seq_len: int,
    attention: backends.PagedAttention,
    *,
    on_cpu: bool,
    share: ModelSpec | None = None,
) -> StepModel:
    """The step of a model, or of what one of several devices has of it."""
    family = model_class(spec.architecture)

    def template(build: Callable[..., M]) -> Template[M]:
        product = None if on_cpu else _grouped_product(config)
        build = build if product is None else functools.partial(_with_product, build, product)
        if share is None:
            return Template(functools.partial(build, spec, dtype=dtype))
        return share_template(build, spec, share, dtype)

    return StepModel(
        ends=template(family),
        runs=_runs(family.layers(spec), template),
        kinds=family.layer_kinds(spec),
        ropes=family.ropes(spec, max_seq_len),
        stacked=stacks_layers(dtype, on_cpu=on_cpu),
        activation_dtype=jnp.dtype(jnp.float32) if on_cpu else dtype,
        attention=attention,
        draw=None if config.is_embedding else draw,
        vocabulary=None if share is None else SharedVocabulary(spec.vocab_size),
        add_norm=None if on_cpu else _add_norm(attention),
        packed_product=None if on_cpu else _packed_product(attention),
    )


def _with_product(build: Callable[..., M], product: GroupedProduct, spec: ModelSpec, *, dtype: jnp.dtype) -> M:
    return with_product(build(spec, dtype=dtype), product)


def _grouped_product(config: EngineConfig) -> GroupedProduct | None:
    """The GPU kernel for experts, unless plain XLA was asked for by name."""
    if config.attention_backend in ("xla", "reference"):
        return None
    from sgl_jax.engine.layers.grouped_matmul import grouped_matmul  # likewise

    return grouped_matmul


def _add_norm(attention: backends.PagedAttention) -> AddNorm | None:
    """The GPU kernel, where those of attention serve, too."""
    if attention.store_projected is None:
        return None
    from sgl_jax.engine.layers import pallas_norm  # takes a second, and CPU engines never need it

    return pallas_norm.add_norm


def _packed_product(attention: backends.PagedAttention) -> PackedProduct | None:
    """The GPU kernels, likewise."""
    if attention.store_projected is None:
        return None
    from sgl_jax.engine.quantization.pallas_gpu.product import packed_product  # likewise

    return packed_product


def _runs(
    layers: Sequence[type[DecoderLayer]], template_of: Callable[[type[DecoderLayer]], Template[DecoderLayer]]
) -> tuple[Run, ...]:
    """Consecutive layers of one class as one run; all runs of a class share its template."""
    templates = {layer: template_of(layer) for layer in dict.fromkeys(layers)}
    runs = []
    for layer, same in itertools.groupby(layers):
        template = templates[layer]
        pooled = frozenset(name for name in template.leaves if name.startswith(layer.POOLED))
        runs.append(Run(template, len(list(same)), pooled))
    return tuple(runs)


def _limits(config: EngineConfig, *, on_cpu: bool, chunk: int) -> tuple[StepLimits, int]:
    """Bounds of a step, and how many requests run at once; `chunk` is for prompts where no flag says more."""
    max_slots = config.max_running_requests or (32 if on_cpu else 256)
    chunk = config.chunked_prefill_size or chunk
    # A step must hold one token of every running request, or decoding would take turns.
    max_tokens = max(min(chunk, config.max_prefill_tokens), max_slots)
    return StepLimits(max_tokens, min(chunk, max_tokens)), max_slots
