"""`python -m sgl_jax.bench` is `sgl-jax-bench`."""

from __future__ import annotations

import sys

from sgl_jax.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
