"""The GPU step, compiled for an H200 without one: `uv run python -m tools.deviceless [--write FOLDER]`.

Compiles the step that the executor runs, for Qwen3-0.6B and Qwen3-8B at several batches, and checks what can be known
without running it: one CUDA graph, few kernels a layer, a KV pool that is updated in place and never copied, bounded
temporaries. Needs the compiler, which is in two wheels of jax's CUDA plugin (140 MB, no CUDA installation), the
dependency group `deviceless`: where they are missing the tool starts itself again in an environment with them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

from sgl_jax.engine.attention import backends
from sgl_jax.engine.execution.xla_options import program_options
from tools.deviceless_compile import DEVICE_KIND, PACKINGS, Case, compile_step, plugin
from tools.deviceless_findings import Findings, faults, find
from tools.qwen3_shapes import MODELS

BATCHES = (1, 32, 256)
_MIB = 1 << 20
_COLUMNS = (
    *("step", "graphs", "kernels a layer", "kernels", "KV MiB in place", "pool copies"),
    *("unpacked matrices", "temp MiB", "compile s"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compiles, prints and checks; 1 if something is not as it must be."""
    options = _parser().parse_args(arguments)
    if plugin() is None:
        _start_again_with_plugin()
    attention = backends.choose(options.attention_backend, has_kernels=False, platform="gpu")
    flags = {**program_options("cuda", 1), **dict(option.split("=", 1) for option in options.option)}
    rows, all_faults = [], []
    for case in _cases(options):
        findings = find(compile_step(case, attention, flags))
        wrong = faults(findings)
        rows.append((case, findings))
        all_faults += [f"{_title(case)}: {fault}" for fault in wrong]
        print(_row(case, findings), flush=True)
        if options.layer:
            print("    " + ", ".join(findings.layer))
    print("\n".join(all_faults) or "all as it must be")
    if options.write is not None:
        _write(Path(options.write), rows, all_faults, options)
    return 1 if all_faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools.deviceless", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--batch", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--tokens", type=int, help="of a step that prefills, too; none decodes only")
    parser.add_argument("--layers", type=int, help="instead of all")
    parser.add_argument("--quantization", nargs="+", default=["none"], choices=["none", *PACKINGS])
    parser.add_argument("--kv-dtype", default="bfloat16")
    parser.add_argument("--attention-backend", default="auto")
    parser.add_argument("--option", nargs="*", default=[], metavar="xla_FLAG=VALUE", help="beside our own")
    parser.add_argument("--layer", action="store_true", help="name a layer's kernels")
    parser.add_argument("--write", help="a folder for NAME.md and NAME.json")
    parser.add_argument("--name", default="deviceless", help="of what is written")
    return parser


def _cases(options: argparse.Namespace) -> list[Case]:
    return [
        Case(
            *(model, batch, options.tokens, options.layers, quantization, options.kv_dtype),
            fresh=options.attention_backend == "cudnn" and options.tokens is not None,
        )
        for model in options.model
        for quantization in options.quantization
        for batch in options.batch
    ]


def _start_again_with_plugin() -> None:
    if os.environ.get("SGL_JAX_DEVICELESS") == "1":
        sys.exit("jax's CUDA plugin, which is for Linux, cannot be imported; `import jax_plugins.xla_cuda13` says why.")
    # Isolated: with the plugin in the workspace's environment, `uv run pytest` would compile for GPUs, too.
    command = ["uv", "run", f"--python={sys.executable}", "--isolated", "--group=deviceless", "python"]
    os.execvpe("uv", [*command, "-m", "tools.deviceless", *sys.argv[1:]], {**os.environ, "SGL_JAX_DEVICELESS": "1"})


def _title(case: Case) -> str:
    usual = ("none", "bfloat16")
    extras = [extra for extra in (case.quantization, case.kv_dtype) if extra not in usual]
    step = f"decode x{case.batch}" if case.tokens is None else f"{case.tokens} tokens x{case.batch}"
    return " ".join((case.model, step, *extras))


def _cells(case: Case, found: Findings) -> list[str]:
    in_place = min(found.aliased_bytes, found.pool_bytes) // _MIB
    return [
        _title(case),
        f"{found.graphs}" + (f" + {sum(found.outside.values())} outside" if found.outside else ""),
        f"{found.kernels_a_layer:g}",
        f"{found.kernels}",
        f"{in_place} of {found.pool_bytes // _MIB}",
        f"{found.pool_copies}",
        f"{found.unpacked}",
        f"{found.temp_bytes / _MIB:.0f}",
        f"{found.compile_s:.0f}",
    ]


def _row(case: Case, found: Findings) -> str:
    return "| " + " | ".join(_cells(case, found)) + " |"


def _write(
    folder: Path, rows: Sequence[tuple[Case, Findings]], wrong: Sequence[str], options: argparse.Namespace
) -> None:
    backend = options.attention_backend
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    record: dict[str, Any] = {
        "target": DEVICE_KIND,
        "versions": versions,
        "attention_backend": backend,
        "faults": list(wrong),
        "steps": [{"step": _title(case), **found._asdict()} for case, found in rows],
    }
    (folder / f"{options.name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    head = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    layers = [f"- {_title(case)}: {', '.join(found.layer)}" for case, found in rows]
    lines = [
        "# The GPU step, compiled without a GPU",
        "",
        f"By `uv run python -m tools.deviceless {shlex.join(sys.argv[1:])}`, for an {DEVICE_KIND}, "
        f"jax {versions['jax']}, jaxlib {versions['jaxlib']}, attention backend {backend!r}. Nothing here was run or "
        "tuned on a device: XLA chose its GEMM tiles without timing them. Compile times are of two shared CPU cores.",
        "",
        *head,
        *(_row(case, found) for case, found in rows),
        "",
        "Not as it must be: " + ("; ".join(wrong) if wrong else "nothing."),
        "",
        "## A layer's kernels",
        "",
        *layers,
        "",
    ]
    (folder / f"{options.name}.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
