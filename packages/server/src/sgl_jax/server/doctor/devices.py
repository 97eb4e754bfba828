"""What the engine would compute on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import msgspec

from sgl_jax.server.doctor.finding import Finding, gigabytes
from sgl_jax.server.doctor.versions import cuda_plugins

SECONDS = 120
"""How long JAX may take to start; drivers that hang are a finding."""
_TOPIC = "devices"


class _Report(msgspec.Struct):
    """The line of `sgl_jax.engine.execution.device_report`."""

    jax: str
    devices: list[str]
    chosen: str | None = None
    memory_bytes: int | None = None
    problem: str | None = None
    kernels: str | None = None
    kernels_problem: str | None = None


def check_devices(device: str) -> Iterator[Finding]:
    """Whether the device (`--device`) can be used, and whether a better one lies idle."""
    gpus = list(_nvidia_gpus())
    yield from (Finding(topic=_TOPIC, name="NVIDIA GPU", value=gpu) for gpu in gpus)
    plugins = cuda_plugins()
    if plugins:
        shown = ", ".join(f"{name} {version}" for name, version in plugins.items())
        yield Finding(topic=_TOPIC, name="CUDA for JAX", value=shown)
    if device == "fake":
        yield Finding(topic=_TOPIC, name="--device=fake", value="makes up tokens; computes nothing")
        return
    yield from _judge(device, _ask_jax(device), has_gpu=bool(gpus), has_plugin=bool(plugins))


def _judge(device: str, report: _Report | str, *, has_gpu: bool, has_plugin: bool) -> Iterator[Finding]:
    name = f"--device={device}"
    if isinstance(report, str):
        advice = "run 'python -c \"import jax; print(jax.devices())\"' for the whole message"
        yield Finding(topic=_TOPIC, name=name, value=report, grade="failure", advice=advice)
    elif report.problem is not None:
        yield Finding(topic=_TOPIC, name=name, value=report.problem, grade="failure", advice=_install_cuda())
    else:
        memory = f", {gigabytes(report.memory_bytes)}" if report.memory_bytes else ""
        idle = has_gpu and device == "auto" and (report.chosen or "").startswith("cpu")
        yield Finding(
            topic=_TOPIC,
            name=name,
            value=f"{report.chosen}{memory}; JAX sees {', '.join(report.devices)}",
            grade="warning" if idle else "ok",
            advice=None if not idle else "the driver is too old for it" if has_plugin else _install_cuda(),
        )
        yield from _kernels(report)


def _kernels(report: _Report) -> Iterator[Finding]:
    """Whether products run in native code on a CPU."""
    if report.kernels is not None:
        yield Finding(topic=_TOPIC, name="CPU kernels", value=report.kernels)
    elif report.kernels_problem is not None:
        reason, _, advice = report.kernels_problem.partition(": ")
        yield Finding(
            topic=_TOPIC,
            name="CPU kernels",
            value=f"{reason}; plain XLA serves, several times slower",
            grade="warning",
            advice=advice or "sgl-jax serve --cpu-kernels=native says more",
        )


def _ask_jax(device: str) -> _Report | str:
    """Its report, or why there is none. In a process of its own: JAX is no part of this one, and may crash."""
    command = [sys.executable, "-m", "sgl_jax.engine.execution.device_report", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"JAX did not start within {SECONDS} seconds"
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"JAX ended with exit code {done.returncode}: {said}"
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Report)


def _nvidia_gpus() -> Iterator[str]:
    """Name, memory and driver of each, as the driver's own tool says."""
    for line in _nvidia_smi("--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader"):
        name, total, free, driver = (part.strip() for part in f"{line},,,".split(",")[:4])
        yield f"{name}, {free} free of {total}, driver {driver}"


def _install_cuda() -> str:
    """Which extra fits the driver."""
    found = re.search(r"CUDA Version: (\d+)", "\n".join(_nvidia_smi()))
    major = int(found[1]) if found else None
    if major is None:
        return "for NVIDIA GPUs: pip install 'sgl-jax-server[cuda12]' (or [cuda13]), and a driver (nvidia-smi shows it)"
    if major < 12:
        return f"the driver knows CUDA {major} only; install one of version 525 or newer"
    return f"pip install 'sgl-jax-server[cuda{min(major, 13)}]'"


def _nvidia_smi(*arguments: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
