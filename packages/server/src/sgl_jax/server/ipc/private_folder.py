"""The folder with the sockets: only its user can enter, and it goes away with its server, however that ends.

Whoever is killed leaves the folder behind, so every start sweeps up those of the dead. A lock held
on a file inside tells the living from the dead. Unlike a process id, which is written there for
people only, it can neither be taken over by another process nor come from another container.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "sgl-jax-"
PID_FILE = "server.pid"
_PRIVATE = stat.S_IFDIR | 0o700

_LONGEST_SOCKET_PATH = 100
"""Unix socket paths are limited to 103 (macOS) or 107 bytes (Linux)."""


class PrivateFolder:
    """A new folder, mode 0700, with a path short enough for sockets in it.

    Args:
        base: where to make it; the system's folder for temporary files by default.
    """

    def __init__(self, base: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base or temporary_folder()))
        unfinished = self.path / f"{PID_FILE}.new"
        self._lock = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(self._lock, f"{os.getpid()}\n".encode())
        with contextlib.suppress(OSError):  # a file system without locks: the folder is never swept
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under its name only when locked, so that no other start takes it for a dead one's.
        unfinished.rename(self.path / PID_FILE)

    def remove(self) -> None:
        """Removes the folder with all that is in it, as far as it is still there. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def temporary_folder() -> Path:
    """The system's folder for temporary files, or `/tmp` where its path is too long for sockets."""
    base = tempfile.gettempdir()
    return Path("/tmp" if len(base.encode()) > _LONGEST_SOCKET_PATH - 40 else base)


def sweep(base: Path | None = None) -> list[Path]:
    """Removes the folders of servers that were killed; returns their paths.

    Touches only folders of this user that bear our prefix, nobody else may enter, and hold a pid
    file that no living process has locked.
    """
    removed = []
    with contextlib.suppress(OSError), os.scandir(base or temporary_folder()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and _is_dead(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)
                removed.append(Path(entry.path))
    return removed


def _is_dead(folder: Path) -> bool:
    try:
        found = folder.lstat()
        if found.st_mode != _PRIVATE or found.st_uid != os.getuid():
            return False
        lock = os.open(folder / PID_FILE, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
