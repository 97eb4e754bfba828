"""Whether what lies in a folder can be trusted to be run: compiled programs and kernels are code. No jax here."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def others_may_write(folder: Path) -> bool:
    """Whether somebody besides this user and the system could have left files in a folder.

    Never where the system knows no such modes.

    Raises:
        OSError: it is not there, or cannot be looked at.
    """
    if os.name != "posix":
        return False
    status = folder.stat()
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) or status.st_uid not in (0, os.geteuid())
