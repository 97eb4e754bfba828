"""Everything to know about a GPU in one command of at most nine minutes: `python -m benchmarks.gpu.run --write FOLDER`.

Every experiment is a process of its own with a limit of its own; rows are on disk as soon as they are measured, so that
neither a crash nor the end of the time takes any away. Weights are made up; nothing is fetched. Two files come out,
`gpu.json` and `gpu.md`. `--tiny --device cpu` proves the benchmarks themselves, on any machine, in a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu.settings import Settings, make_settings

ROOT = Path(__file__).parents[2]
MINUTES = 9.0
MOST_SAID = 1500


class Experiment(NamedTuple):
    """Where a function is, and how many seconds it may take."""

    module: str
    seconds: int


EXPERIMENTS = {
    "imports": Experiment("other_processes", 60),
    "versions": Experiment("device_experiments", 60),
    "oracle": Experiment("device_experiments", 75),
    "attention": Experiment("device_experiments", 75),
    "steps": Experiment("engine_experiments", 200),
    "fresh_prompts": Experiment("prompt_experiments", 60),
    "prefill": Experiment("engine_experiments", 120),
    "products": Experiment("device_experiments", 90),
    "packed_products": Experiment("packed_experiments", 120),
    "kv_write": Experiment("device_experiments", 30),
    "peer": Experiment("other_processes", 150),
    "server": Experiment("other_processes", 150),
    "loops": Experiment("engine_experiments", 80),
    "second_start": Experiment("engine_experiments", 120),
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
    with tempfile.TemporaryDirectory() as kept:
        _name_packages(Path(kept))
        for name in names:
            left = end - time.monotonic()
            found = _run(name, options, min(left, EXPERIMENTS[name].seconds), Path(kept))
            record["experiments"][name] = found
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
            lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in rows]
            lines.append("")
        if found["said"]:
            lines += ["```text", found["said"], "```", ""]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """In one line: what an error says has several."""
    return " ".join(str(value).split()).replace("|", "\\|")


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


def _run(name: str, options: argparse.Namespace, limit: float, kept: Path) -> dict[str, Any]:
    """One experiment in a process of its own."""
    if limit < 5:
        return {"question": "", "seconds": 0, "end": "not begun: no time left", "rows": [], "said": ""}
    begin = time.monotonic()
    # In the folder that the reader gets: what an experiment measured before all ended is still there.
    rows_file = Path(options.write) / "running.jsonl"
    rows_file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.gpu.run", f"--child={name}", f"--write={rows_file.resolve()}"]
        command += [f"--device={options.device}", *(["--tiny"] if options.tiny else [])]
        command += [f"--peer-python={options.peer_python}"] if options.peer_python else []
        environ = _environ(options, kept)
        with log_file.open("wb") as log:
            # A session of its own, so that nothing that it started outlives it.
            child = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environ, start_new_session=True
            )
            try:
                end = "done" if child.wait(limit) == 0 else "broke"
            except subprocess.TimeoutExpired:
                end = f"stopped after {limit:.0f} s"
            finally:
                _end_session(child)
        said = log_file.read_text(encoding="utf-8", errors="replace")[-MOST_SAID:].strip()
    if end != "done" and options.device != "cpu":
        time.sleep(2)  # until the driver has taken back what the ended process held
    question, rows = _rows(rows_file)
    rows_file.unlink(missing_ok=True)
    seconds = round(time.monotonic() - begin, 1)
    return {"question": question, "seconds": seconds, "end": end, "rows": rows, "said": said}


def _rows(file: Path) -> tuple[str, list[dict[str, Any]]]:
    """The question and the rows that a child left, the last of which may be cut off."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    head, *rows = found or [{"question": ""}]
    return head["question"], rows


def _end_session(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _environ(options: argparse.Namespace, kept: Path) -> dict[str, str]:
    """Sources first on the path, so that a machine without our packages installed can run them.

    What XLA compiled and tuned for one experiment need not be made again for the next.
    """
    sources = [str(ROOT), *(str(path) for path in sorted((ROOT / "packages").glob("*/src")))]
    inherited = os.environ.get("PYTHONPATH")
    path = [*sources, *([inherited] if inherited else []), str(kept / "names")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(kept / "programs"))
    if options.device == "cpu":
        environ.setdefault("JAX_PLATFORMS", "cpu")
    return environ


def _name_packages(kept: Path) -> None:
    """Says of each of our packages what an installation would: its name and version, which it asks for itself."""
    for file in (ROOT / "packages").glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        name, version = project["name"], project["version"]
        folder = kept / "names" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def _measure(name: str, settings: Settings, rows_file: Path) -> None:
    """In the child: appends a line for each row, as soon as there is one."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with rows_file.open("w", encoding="utf-8", buffering=1) as file:
        function = getattr(importlib.import_module(f"benchmarks.gpu.{EXPERIMENTS[name].module}"), name)
        file.write(json.dumps({"question": (function.__doc__ or "").strip()}) + "\n")
        for row in function(settings):
            file.write(json.dumps(row) + "\n")


def _end_with(parent: int) -> None:
    """Ends this session once its parent is gone, killed perhaps: nobody else would free the device."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    # So that `timeout`, which asks kindly first, ends what was started here, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    sys.exit(main())
