"""Chat templates in the manner of each family render as transformers renders them, to the last byte."""

from __future__ import annotations

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.engine.errors import ChatTemplateError
from sgl_jax.engine.text import template_sandbox
from sgl_jax.engine.text.chat_template import ChatTemplate
from tools.template_cases import CASES, NOW, SPECIAL_TOKENS

FOLDER = Path(__file__).parent / "chat_templates"
GOLDENS: dict[str, dict[str, Any]] = json.loads((FOLDER / "goldens.json").read_text(encoding="utf-8"))["prompts"]


class FrozenClock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> FrozenClock:
        return cls(*NOW)


@functools.cache
def compiled(family: str) -> ChatTemplate:
    source = (FOLDER / f"{family}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(source, **SPECIAL_TOKENS)


def test_every_template_and_case_has_a_golden() -> None:
    assert sorted(GOLDENS) == sorted(path.stem for path in FOLDER.glob("*.jinja"))
    assert all(list(cases) == list(CASES) for cases in GOLDENS.values()), "run tools/oracle_templates.py"


@pytest.mark.parametrize("family", sorted(GOLDENS))
@pytest.mark.parametrize("case", CASES)
def test_as_transformers(family: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "datetime", FrozenClock)
    expected = GOLDENS[family][case]
    options = dict(CASES[case])
    messages = json.dumps(options)
    if isinstance(expected, str):
        assert compiled(family).render(options.pop("messages"), **options) == expected
    else:
        with pytest.raises(ChatTemplateError) as caught:
            compiled(family).render(options.pop("messages"), **options)
        assert expected["refused"] is None or expected["refused"] in str(caught.value)
    assert json.dumps(CASES[case]) == messages  # rendering leaves the caller's messages alone
