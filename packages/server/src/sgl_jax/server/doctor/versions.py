"""Which software is installed."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version

from sgl_jax.server.doctor.finding import Finding

NEEDED = (
    "sgl-jax-server",
    "sgl-jax-engine",
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "fastapi",
    "uvicorn",
    "pyzmq",
    "msgspec",
)
OPTIONAL = {
    "uvloop": "a faster event loop; pip install uvloop",
    "opentelemetry-sdk": "traces; pip install 'sgl-jax-server[otel]'",
}
_TOPIC = "versions"


def check_versions() -> Iterator[Finding]:
    """Python and the packages that matter."""
    yield Finding(topic=_TOPIC, name="python", value=f"{platform.python_version()} ({sys.executable})")
    yield Finding(topic=_TOPIC, name="system", value=f"{platform.system()} {platform.release()} {platform.machine()}")
    for name in NEEDED:
        try:
            yield Finding(topic=_TOPIC, name=name, value=version(name))
        except PackageNotFoundError:
            advice = "pip install --force-reinstall sgl-jax-server"
            yield Finding(topic=_TOPIC, name=name, value="not installed", grade="failure", advice=advice)
    for name, reason in OPTIONAL.items():
        try:
            yield Finding(topic=_TOPIC, name=name, value=version(name))
        except PackageNotFoundError:
            yield Finding(topic=_TOPIC, name=name, value=f"not installed; it is for {reason}")


def cuda_plugins() -> dict[str, str]:
    """The installed parts of JAX that drive NVIDIA GPUs, with their versions."""
    names = {str(one.metadata["Name"]): one.version for one in distributions()}
    return {name: version for name, version in sorted(names.items()) if name.startswith("jax-cuda")}
