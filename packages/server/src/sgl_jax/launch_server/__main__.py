"""Entry point: `python -m sgl_jax.launch_server --model-path ...`."""

from __future__ import annotations

import sys

from sgl_jax.server.cli import serve

if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:], prog="python -m sgl_jax.launch_server"))
