"""When to try again, and after how long.

Repeating must never generate twice. A POST is repeated only when the server cannot have begun it:
the connection was never made, or the server refused with 429 or 503. A GET changes nothing, so it
is repeated after any failure that may pass.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0
LONGEST_RETRY_AFTER = 60.0
"""Seconds. A server that asks for more gets no retry: the caller should know rather than wait."""

_REFUSED = frozenset({429, 503})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def status_may_repeat(status: int, *, idempotent: bool) -> bool:
    """Whether a request that was answered with this status may be sent again."""
    return status in (_PASSING if idempotent else _REFUSED)


def retry_delay(attempt: int, retry_after: float | None = None, *, rng: random.Random | None = None) -> float | None:
    """Seconds to wait before try number `attempt + 1`; None when the server asks for too long a wait.

    Args:
        attempt: tries made so far, at least 1.
        retry_after: what the server asks for, in seconds; never undercut.
        rng: source of the jitter, which keeps many clients from coming back at once.
    """
    jitter = (rng or random).uniform(0.5, 1.0)
    if retry_after is None:
        return min(FIRST_DELAY * 2.0 ** min(attempt - 1, 16), LONGEST_DELAY) * jitter
    if retry_after > LONGEST_RETRY_AFTER:
        return None
    return retry_after * (1 + 0.2 * (jitter - 0.5))


def parse_retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: a number or a date); None without one.

    Args:
        headers: with lower-case names.
        now: Unix time, for the date form; the clock's when None.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
        except (ValueError, OverflowError, OSError):  # no date, or one that this machine's clock cannot hold
            return None
    return max(0.0, seconds) if seconds == seconds else None  # NaN is no wait
