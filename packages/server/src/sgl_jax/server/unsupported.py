"""Fields that the contract names and the engine cannot honour yet: refused, never silently ignored.

A table of the values that change nothing; support arrives by deleting lines here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sgl_jax.server.errors import bad_request

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "lora_path": ("",),
    "suffix": ("",),
    "custom_params": ({},),
    "stop_regex": ("",),
    "stream_interval": (1,),
}
"""Field -> values that are the same as not sending it (null always is, and a list of nothing but such)."""


def refuse_unsupported(
    body: msgspec.Struct, prefix: str = "", neutral_values: Mapping[str, tuple[Any, ...]] = NEUTRAL
) -> None:
    """Raises a 400 `ApiError` for the first field with a value that cannot be honoured.

    Args:
        body: any request struct; fields that it lacks are skipped.
        prefix: path of the struct within the request (`"sampling_params."`).
        neutral_values: the table to go by.
    """
    for name, neutral in neutral_values.items():
        value = getattr(body, name, None)
        if value is None or value in neutral or (isinstance(value, list) and not any(value)):
            continue
        useful = [one for one in neutral if one]
        allowed = f" (only {', '.join(map(repr, useful))})" if useful else "; leave it out"
        raise bad_request(f"{prefix}{name} is not supported yet{allowed}.", prefix + name, "not_supported")
