"""Processors, memory and limits of this machine, as far as this process may use them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from sgl_jax.server.doctor.finding import Finding, gigabytes

FEW_FILES = 4096
"""One open file a connection: fewer than this are too few for a busy server."""
_TOPIC = "machine"
_CGROUP = Path("/sys/fs/cgroup")


def check_machine(cgroup: Path = _CGROUP) -> Iterator[Finding]:
    """Cores, memory, open files."""
    yield _cores(cgroup)
    yield _memory(cgroup)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(
        topic=_TOPIC,
        name="open files",
        value=f"{soft} (up to {hard})",
        grade="warning" if soft < FEW_FILES else "ok",
        advice=f"ulimit -n {min(hard, 65536)} (systemd: LimitNOFILE=65536)" if soft < FEW_FILES else None,
    )


def _cores(cgroup: Path) -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(quota) / int(period) < usable:
        share = int(quota) / int(period)
        return Finding(
            topic=_TOPIC,
            name="cores",
            value=f"{usable}, of which the container may use {share:g}",
            grade="warning",
            advice=f"give the container {usable} processors, or pin it: taskset -c 0-{max(int(share), 1) - 1}",
        )
    return Finding(topic=_TOPIC, name="cores", value=str(usable))


def _memory(cgroup: Path) -> Finding:
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    value = f"{gigabytes(free)} free of {gigabytes(total)}"
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit.isdigit() and int(limit) < total:
        left = int(limit) - int(used or 0)
        return Finding(
            topic=_TOPIC,
            name="memory",
            value=f"{value}; the container may take {gigabytes(left)} more",
            grade="warning" if left < free else "ok",
            advice="without a GPU, bound the KV pool with --max-total-tokens" if left < free else None,
        )
    return Finding(topic=_TOPIC, name="memory", value=value)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
