"""How far a download has come, out of the progress bars that the hub's library would draw."""

from __future__ import annotations

import threading
from typing import Any

from sgl_jax.engine.plan import ProgressCallback

_MEGABYTE = 10**6


def meter_class(total: int, on_progress: ProgressCallback) -> type[Any]:
    """A class to pass as `tqdm_class`: it draws nothing, and tells how many megabytes of `total` bytes have come."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # documented, and yet not in its __all__

    lock = threading.Lock()
    furthest = 0

    def report(num_bytes: float) -> None:
        nonlocal furthest
        with lock:
            # Two bars count the same bytes, once from the network and once to the disk.
            megabytes = int(min(num_bytes, total)) // _MEGABYTE
            if megabytes > furthest:
                furthest = megabytes
                on_progress(megabytes, -(-total // _MEGABYTE))

    class Meter(tqdm):
        """A bar that is switched off and yet counts."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self._counts_bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            """Counts."""
            self.n += n or 0
            if self._counts_bytes:
                report(self.n)

    return Meter
