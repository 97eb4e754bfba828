"""Where a number comes from: enough about this run to repeat it, and to tell why two runs differ."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("sgl-jax-bench", "sgl-jax-client", "numpy")


def collect_provenance(command: str, flags: dict[str, Any], server: dict[str, Any]) -> dict[str, Any]:
    """Return what a results file says about the run's setting.

    Args:
        command: the subcommand.
        flags: all flags with their effective values; secrets must be gone already.
        server: what was learnt of the server: url, model, info.
    """
    return {
        "command": command,
        "flags": flags,
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": {
            "system": platform.platform(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "git": _git_state(),
        "server": server,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the current folder and whether it has changes; None outside a repository."""
    sha = _git("rev-parse", "HEAD")
    return None if sha is None else {"sha": sha, "dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
