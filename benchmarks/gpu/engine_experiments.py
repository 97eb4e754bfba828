"""Experiments with the whole engine on made-up weights: steps, prefill, both layer loops, a second start."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.settings import Settings

Row = dict[str, Any]


def steps(settings: Settings) -> Iterator[Row]:
    """Decode steps of whole models: tokens a second, and the share of what the copy bandwidth allows."""
    bandwidth = _bandwidth(settings)
    for name in settings.models:
        core, _ = make_core(settings, name, batches=settings.batches)
        for batch in settings.batches:
            _, gap = _drive(core, settings, [settings.context] * batch, settings.new_tokens)
            ideal = step_bytes(settings.models[name], batch, settings.context) / bandwidth
            yield {
                "model": name,
                "batch": batch,
                "context": settings.context,
                "ms a step": round(gap * 1e3, 3),
                "tok/s": round(batch / gap, 1),
                "ideal ms": round(ideal * 1e3, 3),
                "of ideal": round(ideal / gap, 3),
            }
        del core


def prefill(settings: Settings) -> Iterator[Row]:
    """Prompts of one request until their first token: tokens a second, and operations a second; ours, and by cuDNN."""
    from sgl_jax.engine.errors import ConfigError

    lengths = (settings.context, settings.long_prompt)
    for name, config in settings.models.items():
        for backend in ("auto", "cudnn"):
            row: Row = {"model": name, "attention": backend}
            # A whole prompt a step: cuDNN serves no later chunk.
            flags = {
                "attention_backend": backend,
                "chunked_prefill_size": lengths[-1],
                "max_prefill_tokens": lengths[-1],
            }
            try:
                core, _ = make_core(settings, name, batches=(1,), flags={**flags, "precompile_token_paddings": lengths})
            except ConfigError as error:
                yield row | {"why": str(error)}
                continue
            for length in lengths:
                taken = min(_drive(core, settings, [length], 1)[0] for _ in range(3))
                operations = 2 * layer_weights(config) * length + attention_operations(config, length)
                yield {
                    **row,
                    "prompt": length,
                    "ms": round(taken * 1e3, 2),
                    "tok/s": round(length / taken, 1),
                    "TFLOP/s": round(operations / taken / 1e12, 3),
                }
            del core


def loops(settings: Settings) -> Iterator[Row]:
    """The layers unrolled, as on GPU, and as a loop over stacked weights: eight layers of the largest model."""
    import os

    # What the first form left behind would make the second one ready sooner.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
    from sgl_jax.engine.execution import build

    name = list(settings.models)[-1]
    choose = build.stacks_layers
    for form in ("unrolled", "stacked"):
        build.stacks_layers = lambda dtype, *, on_cpu, form=form: form == "stacked"  # type: ignore[assignment]
        core, ready = make_core(
            settings, name, batches=(settings.batches[-1],), num_hidden_layers=min(8, _layers(settings))
        )
        _, gap = _drive(core, settings, [settings.context] * settings.batches[-1], settings.new_tokens)
        yield {"layers are": form, "ms a step": round(gap * 1e3, 3), "ready after s": round(ready, 1)}
        del core
    build.stacks_layers = choose


def second_start(settings: Settings) -> Iterator[Row]:
    """Seconds until an engine is ready, in a process of its own: with no programs on disk, and then with all."""
    program = (
        "import sys, time; begin = time.perf_counter();"
        "from benchmarks.gpu.engine_experiments import make_core;"
        "from benchmarks.gpu.settings import make_settings;"
        "settings = make_settings(tiny=sys.argv[1] == 'True', device=sys.argv[2], peer_python=None);"
        "make_core(settings, list(settings.models)[0], batches=settings.batches);"
        "print(time.perf_counter() - begin)"
    )
    with tempfile.TemporaryDirectory() as folder:
        import os

        from sgl_jax.engine.execution.device_env import kernels_folder

        # What a C++ compiler made for the CPU is no program of this engine; to make it again takes half a minute.
        environ = {**os.environ, "SGL_JAX_CACHE_DIR": folder, "SGL_JAX_KERNELS_DIR": str(kernels_folder())}
        environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        for start in ("first", "second"):
            command = [sys.executable, "-c", program, str(settings.tiny), settings.device]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                yield {"start": start, "why": done.stderr.strip()[-600:]}
                return
            yield {"start": start, "ready after s": round(float(done.stdout.split()[-1]), 1)}


def make_core(
    settings: Settings, name: str, *, batches: Sequence[int], flags: Mapping[str, Any] | None = None, **changes: Any
) -> tuple[Any, float]:
    """A warm engine core over made-up weights, and the seconds until it was ready.

    Args:
        settings: sizes.
        name: of the model.
        batches: numbers of sequences to compile for.
        flags: fields of `EngineConfig` that differ.
        changes: fields of the model's `config.json` that differ.
    """
    from sgl_jax.engine.config.engine_config import EngineConfig
    from sgl_jax.engine.execution import device_env

    most = max(batches)
    chunk = 32 if settings.tiny else 2048
    fields: dict[str, Any] = {
        "model_path": write_model(settings.models[name], **changes),
        "device": settings.device,
        "load_format": "dummy",
        "max_seq_len": settings.long_prompt + settings.new_tokens + 16,
        "max_running_requests": most,
        "chunked_prefill_size": chunk,
        "max_prefill_tokens": max(chunk, most),
        "max_total_tokens": max(most * (settings.context + settings.new_tokens + 32), settings.long_prompt + 128),
        "precompile_bs_paddings": tuple(batches),
        "precompile_token_paddings": (chunk,),
        "disable_radix_cache": True,
    }
    config = EngineConfig(**{**fields, **(flags or {})})
    device_env.apply(config)
    from sgl_jax.engine.startup import build_core

    begin = time.perf_counter()
    return build_core(config, lambda phase: None), time.perf_counter() - begin


def write_model(config: Mapping[str, Any], **changes: Any) -> str:
    """A folder with nothing but a `config.json`."""
    folder = Path(tempfile.mkdtemp(prefix="sgl-jax-gpu-"))
    (folder / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    return str(folder)


def layer_weights(config: Mapping[str, Any]) -> int:
    """Weights of all layers' matrices."""
    hidden, heads, kv_heads = (config[name] for name in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    attention = hidden * config["head_dim"] * (2 * heads + 2 * kv_heads)
    return config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def step_bytes(config: Mapping[str, Any], batch: int, context: int) -> int:
    """What a decode step must read, in bfloat16: all matrices, the output head, and all sequences' keys and values."""
    head = config["vocab_size"] * config["hidden_size"]
    cached = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"] * context
    return 2 * (layer_weights(config) + head + batch * cached)


def attention_operations(config: Mapping[str, Any], length: int) -> int:
    """Floating-point operations of causal attention over a prompt."""
    return 2 * config["num_hidden_layers"] * config["num_attention_heads"] * config["head_dim"] * length * length


def _drive(core: Any, settings: Settings, prompts: Sequence[int], new_tokens: int) -> tuple[float, float]:
    """Runs greedy requests of so many random tokens together: seconds until all have one token, and of a later step."""
    from sgl_jax.engine.messages import GenerateRequest
    from sgl_jax.engine.sampling_params import SamplingParams

    chance = random.Random(0)
    vocabulary = min(config["vocab_size"] for config in settings.models.values())
    sampling = SamplingParams(temperature=0.0, max_new_tokens=new_tokens, ignore_eos=True)
    begin = time.perf_counter()
    for number, length in enumerate(prompts):
        ids = [chance.randrange(3, vocabulary) for _ in range(length)]
        core.submit(GenerateRequest(request_id=f"{number}", prompt_ids=ids, sampling=sampling))
    begin = time.perf_counter()
    waiting, first, gaps, last = set(map(str, range(len(prompts)))), 0.0, [], 0.0
    while core.has_work():
        outputs = core.step()
        now = time.perf_counter()
        drawn = {name for name, delta in zip(outputs.request_ids, outputs.deltas, strict=True) if delta.token_ids}
        if waiting:
            waiting -= drawn
            first = now - begin
        elif len(drawn) == len(prompts):
            gaps.append(now - last)
        last = now
    # The first steps after the prompts still wait for the device to finish these.
    return first, statistics.median(gaps[len(gaps) // 4 :]) if gaps else 0.0


def _layers(settings: Settings) -> int:
    return int(list(settings.models.values())[-1]["num_hidden_layers"])


def _bandwidth(settings: Settings) -> float:
    from benchmarks.gpu.measure import copy_bandwidth

    return copy_bandwidth(settings.copy_bytes, settings.seconds)
