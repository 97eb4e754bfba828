"""Answers encoded by msgspec."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

_ENCODER = msgspec.json.Encoder()


def json_response(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`payload` (structs, dicts, lists) as a JSON answer."""
    return Response(_ENCODER.encode(payload), status, headers, media_type="application/json")
