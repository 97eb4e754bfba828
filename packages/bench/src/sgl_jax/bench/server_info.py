"""What a server tells about itself at `/get_server_info` (SGL-JAX, SGLang): provenance, and never a reason to fail."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any

_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024


async def fetch_server_info(root: str, api_key: str | None) -> dict[str, Any] | None:
    """Return the server's description of itself, or None where it gives none.

    By the standard library and outside the measured client, because the route is not part of OpenAI's API.

    Args:
        root: the server's URL without a path.
        api_key: bearer token; `$SGL_JAX_API_KEY` when None.
    """
    return await asyncio.to_thread(_fetch, f"{root}/get_server_info", api_key or os.environ.get("SGL_JAX_API_KEY"))


def _fetch(url: str, api_key: str | None) -> dict[str, Any] | None:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"} if api_key else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            value = json.loads(response.read(_MAX_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        return None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return value if isinstance(value, dict) else None
