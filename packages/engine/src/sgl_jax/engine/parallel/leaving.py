"""How a process that is one of several nodes ends. No jax here."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process at once, from any thread, and without JAX's farewell.

    In that all wait for each other, and those that see node 0 end before they do are killed.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
