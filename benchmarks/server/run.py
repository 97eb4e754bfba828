"""Runs the server's benchmark and writes `results/streams.json` and `results/streams.md`."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

import streams  # noqa: E402
from provenance import provenance  # noqa: E402


def main() -> None:
    libraries = ("uvicorn", "starlette", "fastapi", "httptools", "uvloop")
    source = {**provenance(), **{name: version(name) for name in libraries}}
    rows = streams.run()
    table = "\n".join(
        [
            "# streams",
            "",
            (streams.__doc__ or "").strip(),
            "",
            " · ".join(f"{key} {value}" for key, value in source.items()),
            "",
            "| " + " | ".join(rows[0]) + " |",
            "|" + "---|" * len(rows[0]),
            *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows),
            "",
        ]
    )
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "streams.json").write_text(json.dumps({"provenance": source, "rows": rows}, indent=1) + "\n")
    (results / "streams.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
