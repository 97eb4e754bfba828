"""Memory that this process holds and does not use, given back to the system. Only Linux can; elsewhere nothing happens.

Neither is visible in what is computed: pages of zeros that nobody has written are zeros again when somebody reads
them, and what the C library keeps for later it gets anew.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys

import jax

_DONTNEED = 4
"""Linux's MADV_DONTNEED: private anonymous memory gives its pages back, and is zeros when it is touched again."""


def forget_zeros(array: jax.Array) -> None:
    """Gives back the memory under an array of zeros, which then grows as it is written to.

    Args:
        array: on CPU devices, made by XLA, and all zeros as yet.
    """
    libc = _libc()
    if libc is None:
        return
    for shard in jax.block_until_ready(array).addressable_shards:
        begin = shard.data.unsafe_buffer_pointer()
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (begin + shard.data.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:  # that it fails (memory may be locked) leaves things as they are
            libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _DONTNEED)


def give_back() -> None:
    """Gives back what was freed, such as what a compiler needed. Takes some 0.1 s."""
    libc = _libc()
    if libc is not None and hasattr(libc, "malloc_trim"):  # glibc has it, musl has not
        libc.malloc_trim(0)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
