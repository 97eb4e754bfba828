from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.server.ipc.private_folder import PID_FILE, PrivateFolder, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from sgl_jax.server.ipc.private_folder import PrivateFolder
folder = PrivateFolder(Path(sys.argv[1]))
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """The folder of a process that was killed."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True, check=False)
    folder = Path(done.stdout.strip())
    (folder / "commands").touch()
    return folder


def test_it_is_private_and_says_whose_it_is(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / PID_FILE).read_text() == f"{os.getpid()}\n"
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


def test_a_killed_servers_folder_is_swept_up(dead: Path, tmp_path: Path) -> None:
    assert dead.parent == tmp_path
    assert sweep(tmp_path) == [dead]
    assert not dead.exists()
    assert sweep(tmp_path) == []


def test_a_living_servers_folder_stays(tmp_path: Path) -> None:
    living = PrivateFolder(tmp_path)
    assert sweep(tmp_path) == []
    assert living.path.exists()
    living.remove()


def test_a_child_process_does_not_keep_the_folder_alive(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    command = [sys.executable, "-c", "print('running', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()  # until then it may still hold what exec closes
        os.close(folder._lock)  # what the end of this process would do
        folder._lock = -1
        assert sweep(tmp_path) == [folder.path]
        child.stdin.write(b"\n")


def make_enterable(folder: Path) -> None:
    folder.chmod(0o755)


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("somebody-elses"))


def forget_the_pid(folder: Path) -> None:
    (folder / PID_FILE).unlink()


def link_the_pid(folder: Path) -> None:
    (folder / PID_FILE).rename(folder / "other")
    (folder / PID_FILE).symlink_to("other")


def link_the_folder(folder: Path) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(moved)


@pytest.mark.parametrize("change", [make_enterable, rename, forget_the_pid, link_the_pid, link_the_folder])
def test_what_may_not_be_ours_stays(dead: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    change(dead)
    before = sorted(tmp_path.rglob("*"))
    assert sweep(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_another_users_folder_stays(dead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert sweep(tmp_path) == []
    assert dead.exists()


def test_a_missing_base_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == []
