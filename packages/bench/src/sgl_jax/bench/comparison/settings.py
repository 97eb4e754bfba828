"""Whether two sides measured the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sgl_jax.bench.results import Results

# They differ from run to run by nature, or say where results go.
_OUTPUTS = frozenset({"url", "output", "plot", "quiet", "seed", "wait_ready", "scrape", "slo"})


def setting_differences(baseline: Sequence[Results], new: Sequence[Results]) -> Iterator[str]:
    """Yield one phrase for each setting in which the runs of the two sides differ: `--concurrent 8 / 16`."""
    before, after = ([_settings(results) for results in side] for side in (baseline, new))
    for name in dict.fromkeys(name for settings in (*before, *after) for name in settings):
        left, right = (
            " and ".join(dict.fromkeys(str(settings.get(name, "-")) for settings in side)) for side in (before, after)
        )
        if left != right:
            yield f"{name} {left} / {right}"


def _settings(results: Results) -> dict[str, Any]:
    provenance = results.provenance
    flags = provenance.get("flags") or {}
    server, machine = provenance.get("server") or {}, provenance.get("machine") or {}
    return {
        "command": provenance.get("command"),
        **{f"--{name.replace('_', '-')}": value for name, value in flags.items() if name not in _OUTPUTS},
        "workload": results.workload,
        "model": server.get("model"),
        "objectives": results.slo and str(results.slo),
        "machine": machine.get("system"),
        "CPUs": machine.get("cpus"),
    }
