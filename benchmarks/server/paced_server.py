"""The real server around the paced engine process. Takes the flags of `sgl-jax serve`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from sgl_jax.server.cli import serve
from sgl_jax.server.ipc.client import ZmqEngineClient

WORKER = (sys.executable, str(Path(__file__).with_name("paced_worker.py")))

if __name__ == "__main__":
    ZmqEngineClient.start = functools.partial(ZmqEngineClient.start, command=WORKER)  # type: ignore[method-assign]
    sys.exit(serve(sys.argv[1:]))
