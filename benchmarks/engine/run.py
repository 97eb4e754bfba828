"""Runs the engine's benchmarks and writes `results/NAME.json` and `results/NAME.md`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import concurrency  # noqa: E402
import flat_cost  # noqa: E402
import host_overhead  # noqa: E402
import load_memory  # noqa: E402
import sampling  # noqa: E402
import shared_prefix  # noqa: E402
import simulation  # noqa: E402
import startup  # noqa: E402
from provenance import provenance  # noqa: E402

BENCHMARKS = {
    module.__name__: module
    for module in (host_overhead, flat_cost, shared_prefix, concurrency, sampling, startup, simulation, load_memory)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="which ones (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    for name in names:
        print(f"== {name}", flush=True)
        source = provenance()
        rows = BENCHMARKS[name].run()
        table = "\n".join(
            [
                f"# {name}",
                "",
                (BENCHMARKS[name].__doc__ or "").strip(),
                "",
                " · ".join(f"{key} {value}" for key, value in source.items()),
                "",
                "| " + " | ".join(rows[0]) + " |",
                "|" + "---|" * len(rows[0]),
                *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows),
                "",
            ]
        )
        (results / f"{name}.json").write_text(json.dumps({"provenance": source, "rows": rows}, indent=1) + "\n")
        (results / f"{name}.md").write_text(table)
        print(table, flush=True)


if __name__ == "__main__":
    main()
