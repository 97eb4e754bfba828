"""Everything to know about a GPU in one command of at most nine minutes: `python -m benchmarks.gpu.run --write FOLDER`.

Every experiment is a process of its own with a limit of its own; rows are on disk as soon as they are measured, so that
neither a crash nor the end of the time takes any away. Weights are made up; nothing is fetched. Two files come out,
`gpu.json` and `gpu.md`. `--tiny --device cpu` proves the benchmarks themselves, on any machine, in a minute.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu.settings import Settings, make_settings

ROOT = Path(__file__).parents[2]
MINUTES = 9.0


class Experiment(NamedTuple):
    """Where a function is, and how many seconds it may take."""

    module: str
    seconds: int


EXPERIMENTS = {
    "versions": Experiment("device_experiments", 60),
    "oracle": Experiment("device_experiments", 60),
    "attention": Experiment("device_experiments", 75),
    "steps": Experiment("engine_experiments", 200),
    "prefill": Experiment("engine_experiments", 90),
    "products": Experiment("device_experiments", 90),
    "kv_write": Experiment("device_experiments", 30),
    "peer": Experiment("other_processes", 150),
    "server": Experiment("other_processes", 90),
    "loops": Experiment("engine_experiments", 80),
    "second_start": Experiment("engine_experiments", 90),
}
"""In order of importance: where the time runs out, the last ones are left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs experiments, one after the other; 1 if one of them broke."""
    options = _parser().parse_args(arguments)
    settings = make_settings(tiny=options.tiny, device=options.device, peer_python=options.peer_python)
    if options.child is not None:
        _measure(options.child, settings, Path(options.write))
        return 0
    folder = Path(options.write)
    folder.mkdir(parents=True, exist_ok=True)
    names = options.names or list(EXPERIMENTS)
    if options.dry_run:
        print("\n".join(f"{name}: at most {EXPERIMENTS[name].seconds} s" for name in names))
        return 0
    end = time.monotonic() + options.minutes * 60
    record: dict[str, Any] = {"started": _now(), "command": sys.argv, "git": _git(), "experiments": {}}
    for name in names:
        left = end - time.monotonic()
        record["experiments"][name] = found = _run(name, options, min(left, EXPERIMENTS[name].seconds))
        (folder / "gpu.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (folder / "gpu.md").write_text(render(record), encoding="utf-8")
        print(f"{name}: {len(found['rows'])} rows, {found['seconds']} s, {found['end']}", flush=True)
    broken = [name for name, found in record["experiments"].items() if found["end"] == "broke"]
    return 1 if broken else 0


def render(record: dict[str, Any]) -> str:
    """The Markdown of a run."""
    lines = ["# Measured on a device", "", f"{record['started']}, git {record['git']}.", ""]
    for name, found in record["experiments"].items():
        lines += [f"## {name}", "", found["question"], "", f"{found['seconds']} s, {found['end']}.", ""]
        # Rows that say why something is missing have other columns than those that measured.
        shapes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in found["rows"]:
            shapes.setdefault(tuple(row), []).append(row)
        for columns, rows in shapes.items():
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows]
            lines.append("")
        if found["said"]:
            lines += ["```text", found["said"], "```", ""]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu.run", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(EXPERIMENTS)}")
    parser.add_argument(
        "--write", default=str(Path(__file__).parent / "results"), help="folder for gpu.json and gpu.md"
    )
    parser.add_argument("--device", default="cuda", help="as of sgl-jax serve (default: cuda)")
    parser.add_argument("--tiny", action="store_true", help="sizes that only prove the benchmarks")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"for all of it (default: {MINUTES:g})")
    parser.add_argument("--peer-python", help="an interpreter with torch and transformers (default: this one)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would run")
    parser.add_argument("--child", choices=list(EXPERIMENTS), help=argparse.SUPPRESS)
    return parser


def _run(name: str, options: argparse.Namespace, limit: float) -> dict[str, Any]:
    """One experiment in a process of its own."""
    experiment = EXPERIMENTS[name]
    question = ""
    if limit < 5:
        return {"question": question, "seconds": 0, "end": "not begun: no time left", "rows": [], "said": ""}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows_file, log_file = Path(folder) / "rows", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.gpu.run", f"--child={name}", f"--write={rows_file}"]
        command += [f"--device={options.device}", *(["--tiny"] if options.tiny else [])]
        command += [f"--peer-python={options.peer_python}"] if options.peer_python else []
        with log_file.open("wb") as log:
            # A session of its own, so that nothing that it started outlives it.
            child = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=_environ(options), start_new_session=True
            )
            try:
                end = "done" if child.wait(limit) == 0 else "broke"
            except subprocess.TimeoutExpired:
                end = f"stopped after {limit:.0f} s"
            finally:
                _end_session(child)
        lines = rows_file.read_text(encoding="utf-8").splitlines() if rows_file.exists() else []
        said = "" if end == "done" else log_file.read_text(encoding="utf-8", errors="replace")[-1500:]
    head, *rows = [json.loads(line) for line in lines] or [{"question": question}]
    seconds = round(time.monotonic() - begin, 1)
    del experiment
    return {"question": head["question"], "seconds": seconds, "end": end, "rows": rows, "said": said}


def _end_session(child: subprocess.Popen[bytes]) -> None:
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _environ(options: argparse.Namespace) -> dict[str, str]:
    """Sources first on the path, so that a machine without our packages installed can run them."""
    sources = [str(ROOT), *(str(path) for path in sorted((ROOT / "packages").glob("*/src")))]
    inherited = os.environ.get("PYTHONPATH")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, *([inherited] if inherited else [])])}
    if options.device == "cpu":
        environ.setdefault("JAX_PLATFORMS", "cpu")
    return environ


def _measure(name: str, settings: Settings, rows_file: Path) -> None:
    """In the child: appends a line for each row, as soon as there is one."""
    function = getattr(importlib.import_module(f"benchmarks.gpu.{EXPERIMENTS[name].module}"), name)
    with rows_file.open("w", encoding="utf-8", buffering=1) as file:
        file.write(json.dumps({"question": (function.__doc__ or "").strip()}) + "\n")
        for row in function(settings):
            file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
