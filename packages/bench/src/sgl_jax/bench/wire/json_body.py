"""The JSON of a reply."""

from __future__ import annotations

import json
from typing import Any

from sgl_jax.bench.wire.connection import Reply


def json_body(reply: Reply) -> dict[str, Any] | None:
    """Return the reply's body as a JSON object; None when it is none."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
