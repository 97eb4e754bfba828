"""Peak host memory while a checkpoint of half a gigabyte is loaded on CPU, over weights plus the largest tensor."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.tiny_model import make_tiny_model  # noqa: E402

SHAPE = {
    "vocab_size": 32000,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 10,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
}
CASES = {
    "float32 as float32, one file": ({"dtype": "float32"}, "float32"),
    "bfloat16 as bfloat16, four shards": ({"dtype": "bfloat16", "shards": 4}, "bfloat16"),
    "bfloat16 as float32, one file": ({"dtype": "bfloat16"}, "float32"),
    "float16 as float32, untied": ({"dtype": "float16", "tie": False}, "float32"),
}
MIB = 1 << 20


def peak_bytes() -> int:
    """The kernel's high-water mark of this process's resident memory."""
    with open("/proc/self/status", encoding="utf-8") as status:
        (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def load(folder: str, dtype: str) -> None:
    """Loads in this process, and prints what it took."""
    import jax

    from sgl_jax.engine.config import model_files
    from sgl_jax.engine.config.engine_config import EngineConfig
    from sgl_jax.engine.execution.build import build_executor
    from sgl_jax.engine.weights.source import open_source

    limits = {"max_total_tokens": 16, "max_running_requests": 1, "max_seq_len": 16}
    config = EngineConfig(model_path=folder, dtype=dtype, device="cpu", **limits)
    files = model_files.resolve(folder)
    jax.numpy.zeros(1).block_until_ready()
    Path("/proc/self/clear_refs").write_text("5")  # the mark starts anew from here
    before, begin = peak_bytes(), time.perf_counter()
    executor, _ = build_executor(config, files, files.spec(), lambda done, total: None)
    seconds = time.perf_counter() - begin
    peak = peak_bytes() - before
    source = open_source(files)
    itemsize = jax.numpy.dtype(dtype).itemsize
    sizes = [int(jax.numpy.prod(jax.numpy.array(source.shape(name)))) * itemsize for name in source.names()]
    weights = sum(leaf.nbytes for leaf in executor._params)
    print(json.dumps({"weights": weights, "largest": max(sizes), "peak": peak, "seconds": seconds}))


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, (arguments, dtype) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            make_tiny_model(folder, seed=1, **{"tie": True, **arguments}, **SHAPE)  # type: ignore[arg-type]
            program = [sys.executable, __file__, folder, dtype]
            found = json.loads(subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout)
        allowed = found["weights"] + found["largest"]
        rows.append(
            {
                "checkpoint": name,
                "weights MiB": round(found["weights"] / MIB),
                "largest tensor MiB": round(found["largest"] / MIB),
                "peak MiB": round(found["peak"] / MIB),
                "of weights + largest": round(found["peak"] / allowed, 3),
                "s": round(found["seconds"], 2),
            }
        )
    return rows


if __name__ == "__main__":
    load(*sys.argv[1:])
