"""Where a figure comes from."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any


def provenance() -> dict[str, Any]:
    """Git sha, versions and machine, as plain data."""
    sha = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return {
        "git": sha.strip() + ("+" if dirty.strip() else ""),
        "python": platform.python_version(),
        "jax": version("jax"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    named = {name.strip(): value.strip() for name, value in fields.items()}
    return f"{named.get('model name')} (family {named.get('cpu family')}, model {named.get('model')})"
