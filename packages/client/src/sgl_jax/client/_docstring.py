"""What a docstring says about a function and its parameters. Pure."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns|Return|Raises|Yields|Examples?|Notes?):\s*$")
_PARAMETERS = frozenset({"Args", "Arguments", "Parameters"})
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_ANY_INDENT = 1000
_FIELD = re.compile(r":(\w+)(?:\s+[^:]*?(\w+))?\s*:\s*(.*)")


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The text before the first section, and each parameter's text, in Google's style (`Args:`) or Sphinx's (`:param`).

    Line breaks within a text become spaces; paragraphs of the first text stay apart.
    """
    about: list[str] = []
    texts: dict[str, list[str]] = {}
    section, current, entry_indent = "", None, 0
    for line in inspect.cleandoc(docstring or "").splitlines():
        stripped, indent = line.strip(), len(line) - len(line.lstrip())
        if indent == 0 and (heading := _SECTION.match(stripped)):
            section, current, entry_indent = heading[1], None, _ANY_INDENT
        elif indent == 0 and (field := _FIELD.match(stripped)):
            section = ":"
            current = texts.setdefault(field[2], [field[3]]) if field[1] == "param" and field[2] else None
        elif section == "":
            about.append(stripped)
        elif section in _PARAMETERS and indent <= entry_indent and (entry := _ENTRY.match(stripped)):
            current, entry_indent = texts.setdefault(entry[1], [entry[2]]), indent
        elif current is not None and stripped:
            current.append(stripped)
    paragraphs = [" ".join(text.split()) for text in "\n".join(about).strip().split("\n\n")]
    return "\n\n".join(paragraphs), {name: " ".join(lines).strip() for name, lines in texts.items()}
