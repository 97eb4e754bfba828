"""One thing that the doctor looked at."""

from __future__ import annotations

from typing import Literal

import msgspec

Grade = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found.

    Attributes:
        topic: heading that it belongs under.
        name: what was looked at.
        value: what it is.
        grade: `failure` is what keeps the server from working as it was asked to.
        advice: what to do, unless it is fine.
    """

    topic: str
    name: str
    value: str
    grade: Grade = "ok"
    advice: str | None = None


def gigabytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
