"""Writes what `/openapi.json` says to `tests/contract/openapi.json`: `uv run python -m tools.openapi_snapshot`.

The snapshot makes every change of the HTTP API a visible one, and a test compares. Look at the difference before you
commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from sgl_jax.engine.messages import Phase
from sgl_jax.server.app import create_app
from sgl_jax.server.context import ServerContext

SNAPSHOT = Path(__file__).parents[1] / "tests" / "contract" / "openapi.json"


def current() -> dict[str, Any]:
    """The schema of this working tree, without the version, which changes with every release."""
    # Routes are only described here and never called, so there is nothing behind them.
    nothing = cast(Any, None)
    context = ServerContext(engine=nothing, tokenizer=nothing, served_model_name="model", phase=lambda: Phase("ready"))
    schema = create_app(context).openapi()
    del schema["info"]["version"]
    return schema


def render(schema: dict[str, Any]) -> str:
    """The text that is committed: stable, and good to read in a diff."""
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(render(current()), encoding="utf-8")
    print(f"wrote {SNAPSHOT}")
