"""What a hub id looks like. Apart from `hub`, because every command line is looked at, and few need the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(:(?P<file>[^:]+\.gguf))?")


class HubModel(NamedTuple):
    """A hub id: `organisation/name`, or `organisation/name:file.gguf` for one file of it."""

    repo: str
    file: str | None = None


def parse_hub_id(model_path: str) -> HubModel | None:
    """The hub id that a model path is, or None: something lies at that path, or it does not look like an id."""
    found = _HUB_ID.fullmatch(model_path)
    if found is None or Path(model_path).expanduser().exists():
        return None
    return HubModel(found["repo"], found["file"])
