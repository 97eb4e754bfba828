"""The house rules about files, on this repository and on one that breaks each of them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def problems(check_files: ModuleType, root: Path, path: str, text: str = "") -> list[str]:
    """What the tool says of a tree that holds this one file."""
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text, encoding="utf-8")
    return list(check_files.check(root, [path]))


def test_this_repository_keeps_the_rules(check_files: ModuleType) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: git tells which files count")
    paths = check_files.repository_files(ROOT)
    assert "tests/repo/test_check_files.py" in paths
    assert list(check_files.check(ROOT, paths)) == []


@pytest.mark.parametrize(
    "path",
    [
        "packages/client/src/sgl_jax/__init__.py",
        "packages/client/src/sgl_jax/client/utils.py",
        "packages/client/src/sgl_jax/client/utils/text.py",
        "packages/server/src/sgl_jax/server/managers/pages.py",
    ],
)
def test_a_forbidden_name_is_refused(check_files: ModuleType, tmp_path: Path, path: str) -> None:
    [problem] = problems(check_files, tmp_path, path)
    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    ["import pickle", "import json, pickle", "from pickle import loads", "def late():\n    import cloudpickle.compat"],
)
def test_pickle_is_refused_in_a_package(check_files: ModuleType, tmp_path: Path, text: str) -> None:
    [problem] = problems(check_files, tmp_path, "packages/server/src/sgl_jax/server/wire.py", text)
    assert "msgspec" in problem


def test_pickle_is_allowed_where_machine_code_is_kept(check_files: ModuleType, tmp_path: Path) -> None:
    (path,) = check_files.MAY_BE_UNSAFE
    assert problems(check_files, tmp_path, path, "import pickle") == []


def test_pickle_is_allowed_in_tests_and_as_a_word(check_files: ModuleType, tmp_path: Path) -> None:
    assert problems(check_files, tmp_path, "packages/server/tests/test_wire.py", "import pickle") == []
    assert (
        problems(check_files, tmp_path, "packages/server/src/sgl_jax/server/wire.py", '"""No import pickle."""') == []
    )


@pytest.mark.parametrize(("lines", "count"), [(500, 0), (501, 1)])
def test_a_file_has_at_most_500_lines(check_files: ModuleType, tmp_path: Path, lines: int, count: int) -> None:
    assert len(problems(check_files, tmp_path, "tools/long.py", "x = 1\n" * lines)) == count
    assert len(problems(check_files, tmp_path, "page/long.css", "a {}\n" * lines)) == count
