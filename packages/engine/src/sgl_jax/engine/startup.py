"""From flags to a running core: the model is read, brought to its devices and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sgl_jax.engine.config import model_files
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_source import local_model
from sgl_jax.engine.config.pooling import read_pooling
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.execution.advice import memory_advice
from sgl_jax.engine.execution.fake import fake_executor
from sgl_jax.engine.messages import EngineInfo, Phase
from sgl_jax.engine.plan import Executor
from sgl_jax.engine.structured.compiler import GrammarCompiler
from sgl_jax.engine.text.load import load_tokenizer

if TYPE_CHECKING:
    from sgl_jax.engine.config.model_files import ModelFiles
    from sgl_jax.engine.config.model_spec import ModelSpec
    from sgl_jax.engine.execution.executor import DeviceExecutor
    from sgl_jax.engine.execution.plan_channel import PlanSender


def build_core(config: EngineConfig, on_phase: Callable[[Phase], None]) -> EngineCore:
    """Loads the model, compiles its steps and returns a ready core. Imports jax (unless `device="fake"`).

    Args:
        config: what to run; of several nodes, this is node 0.
        on_phase: hears of every change of phase and of warm-up progress.

    Raises:
        ModelLoadError: the model cannot be loaded.
        ConfigError: the flags do not fit the model or the device.
    """
    files, spec = _read_model(config, on_phase)
    pooling = read_pooling(files.root, files.config) if config.is_embedding else None
    executor: Executor
    if config.device == "fake":
        executor, summary = fake_executor(config, spec), {"device": "fake"}
    else:
        others = _lead(config, spec)
        executor, summary = _on_device(config, files, spec, on_phase)
        if others is not None:
            executor.lead(others)
    _warm_up(config, executor, on_phase)
    longest = executor.max_pages_per_slot * executor.page_size
    info = EngineInfo(
        model_path=config.model_path,
        architecture=spec.architecture,
        vocab_size=spec.vocab_size,
        max_model_len=min(config.max_seq_len or spec.max_position_embeddings, longest),
        max_total_tokens=executor.num_pages * executor.page_size,
        max_running_requests=executor.max_slots,
        eos_token_ids=list(spec.eos_token_ids),
        dtype=summary.get("dtype", config.dtype),
        device=summary["device"],
        summary=summary,
        hidden_size=spec.hidden_size,
        pooling=pooling,
    )
    core = EngineCore(
        executor,
        info,
        max_queued_requests=config.max_queued_requests,
        random_seed=config.random_seed,
        overlap=not config.disable_overlap_schedule,
        prefix_cache=not config.disable_radix_cache,
        schedule_policy=config.schedule_policy,
        grammars=GrammarCompiler(lambda: load_tokenizer(config), spec.vocab_size, spec.eos_token_ids),
    )
    on_phase(Phase("ready"))
    return core


def follow_core(config: EngineConfig, on_phase: Callable[[Phase], None]) -> None:
    """Runs the steps of another node than node 0, until that one ends.

    Args:
        config: that of node 0, but for `node_rank`.
        on_phase: as for `build_core`.

    Raises:
        ModelLoadError, ConfigError: as from `build_core`; or the nodes do not find each other.
        RuntimeError: the device failed.
    """
    files, spec = _read_model(config, on_phase)
    from sgl_jax.engine.execution.meeting import attend  # imports jax
    from sgl_jax.engine.execution.plan_channel import follow

    receiver = attend(config, spec)
    executor, _ = _on_device(config, files, spec, on_phase)
    _warm_up(config, executor, on_phase)
    on_phase(Phase("ready"))
    follow(executor, receiver.plans())


def _read_model(config: EngineConfig, on_phase: Callable[[Phase], None]) -> tuple[ModelFiles, ModelSpec]:
    model_path = local_model(config, lambda done, total: on_phase(Phase("downloading", done, total)))
    on_phase(Phase("loading"))
    files = model_files.resolve(str(model_path), config.load_format)
    return files, files.spec()


def _lead(config: EngineConfig, spec: ModelSpec) -> PlanSender | None:
    if config.nnodes == 1:
        return None
    from sgl_jax.engine.execution.meeting import lead  # imports jax

    return lead(config, spec)


def _on_device(
    config: EngineConfig, files: ModelFiles, spec: ModelSpec, on_phase: Callable[[Phase], None]
) -> tuple[DeviceExecutor, dict[str, str]]:
    from sgl_jax.engine.execution.build import build_executor  # imports jax

    with memory_advice(config, "loading the weights and making the KV pool"):
        return build_executor(config, files, spec, lambda done, total: on_phase(Phase("loading", done, total)))


def _warm_up(config: EngineConfig, executor: Executor, on_phase: Callable[[Phase], None]) -> None:
    if not config.skip_warmup:
        with memory_advice(config, "compiling the steps"):
            executor.warmup(lambda done, total: on_phase(Phase("compiling", done, total)))
