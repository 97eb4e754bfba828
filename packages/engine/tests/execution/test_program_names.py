"""What engines with different flags find under one name is the same program."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jax
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.execution.program_store import ProgramStore

FLAGS: dict[str, Any] = {
    "max_running_requests": 2,
    "max_prefill_tokens": 8,
    "precompile_bs_paddings": (1,),
    "precompile_token_paddings": (4,),
}
OTHERS = {"max_running_requests": 3, "max_prefill_tokens": 16}


class Warmed(Exception):  # noqa: N818 - no error
    """All programs are there, and the first would run."""


def never_run(*arguments: Any) -> None:
    raise Warmed


@pytest.mark.parametrize("is_embedding", [False, True])
def test_flags_that_change_a_program_change_its_name(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, is_embedding: bool
) -> None:
    texts: dict[str, set[bytes]] = {}
    lock = threading.Lock()

    def note(store: ProgramStore, name: str, text: bytes) -> None:
        with lock:
            texts.setdefault(name, set()).add(text)

    def compiled(store: ProgramStore, lowered: jax.stages.Lowered, text: str) -> Any:
        return never_run

    monkeypatch.setattr(ProgramStore, "_read", lambda store, text: None)
    monkeypatch.setattr(ProgramStore, "_compile", compiled)
    monkeypatch.setattr(ProgramStore, "_write", note)
    for flags in (FLAGS, *(FLAGS | {name: value} for name, value in OTHERS.items())):
        with pytest.raises(Warmed):
            Engine(tiny_folder, device="cpu", is_embedding=is_embedding, **flags)
    assert len(texts) > 8
    assert all(len(of_name) == 1 for of_name in texts.values())
