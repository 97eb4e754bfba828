"""Writes the golden prompts of the chat templates under `packages/engine/tests/text/chat_templates`.

Run it when a template or a case is added, in the environment that `tools/oracle.py` describes:

    ORACLE/bin/python -m tools.oracle_templates

A golden is what `transformers` renders, or `{"refused": message}` where the template (message) or Jinja (null) refuses.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers.utils import chat_template_utils

from tools.template_cases import CASES, NOW, SPECIAL_TOKENS

FOLDER = Path(__file__).parent.parent / "packages" / "engine" / "tests" / "text" / "chat_templates"


class FrozenClock(datetime):
    """A datetime whose now is always the same."""

    @classmethod
    def now(cls, tz: Any = None) -> FrozenClock:
        """The moment of the goldens."""
        return cls(*NOW)


def render(template: str, case: dict[str, Any]) -> str | dict[str, str | None]:
    """One prompt, or the refusal."""
    options = {"add_generation_prompt": "continue_final_message" not in case, **case}
    messages = options.pop("messages")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **SPECIAL_TOKENS)
    try:
        prompt: str = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **options)
    except jinja2.exceptions.UndefinedError:
        return {"refused": None}
    except jinja2.exceptions.TemplateError as error:
        return {"refused": error.message}
    except (TypeError, ValueError, AttributeError):
        return {"refused": None}
    return prompt


def main() -> None:
    """The command line."""
    chat_template_utils.datetime = FrozenClock
    prompts = {
        path.stem: {name: render(path.read_text(encoding="utf-8"), case) for name, case in CASES.items()}
        for path in sorted(FOLDER.glob("*.jinja"))
    }
    golden = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "prompts": prompts}
    text = json.dumps(golden, ensure_ascii=False, indent=1)
    (FOLDER / "goldens.json").write_text(text + "\n", encoding="utf-8")
    for name, cases in prompts.items():
        refused = [f"{case} ({got['refused']})" for case, got in cases.items() if isinstance(got, dict)]
        print(f"{name}: {len(cases)} cases, refused: {'; '.join(refused) or 'none'}")


if __name__ == "__main__":
    main()
