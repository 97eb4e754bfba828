"""Checks the house rules about files that no linter knows: `uv run python tools/check_files.py`.

Git tells which files count: those it tracks and those it would track.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

MAX_LINES = 500
"""A file that needs more holds more than one idea."""

SOURCES = (".cc", ".css", ".h", ".html", ".js", ".py")

UNSAFE_MODULES = frozenset({"cloudpickle", "dill", "marshal", "pickle", "shelve"})
"""They run code from the bytes they read; what we send between processes is msgspec."""

MAY_BE_UNSAFE = frozenset({"packages/engine/src/sgl_jax/engine/execution/program_store.py"})
"""Reads machine code that this user's own processes wrote, from a folder that no other user can write to."""


def repository_files(root: Path) -> list[str]:
    """The paths below `root`, with forward slashes, that are or would be committed and are present."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in set(listed.split("\0")) if path and (root / path).is_file())


def check(root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Yields one line for each broken rule: where, what, and what to do instead."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if path.endswith("sgl_jax/__init__.py"):
            yield f"{path}: sgl_jax is a namespace shared by four packages; delete this file"
        if parts[-1] in {"utils.py", "utils"} or "utils" in parts[:-1]:
            yield f"{path}: name the file after what is in it, not utils"
        if "managers" in parts[:-1]:
            yield f"{path}: name the folder after what is in it, not managers"
        if path.endswith(SOURCES):
            source = (root / path).read_text(encoding="utf-8")
            if (lines := source.count("\n")) > MAX_LINES:
                yield f"{path}: {lines} lines, at most {MAX_LINES}; split it by idea"
            in_package = parts[0] == "packages" and parts[2:3] == ("src",)
            if path.endswith(".py") and in_package and path not in MAY_BE_UNSAFE:
                for line, module in imports(source):
                    if module.partition(".")[0] in UNSAFE_MODULES:
                        yield f"{path}:{line}: {module} runs code from the bytes it reads; use msgspec"


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and module of each absolute import, wherever it stands in the source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def main() -> int:
    """Prints every broken rule; returns 1 if there is one."""
    root = Path(__file__).resolve().parents[1]
    paths = repository_files(root)
    problems = list(check(root, paths))
    print("\n".join(problems) if problems else f"{len(paths)} files keep the rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
