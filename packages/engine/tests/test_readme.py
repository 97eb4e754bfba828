"""The README's Python examples run, in order, on a tiny model."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_examples_run(tiny_folder, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    scope = {"MODEL": str(tiny_folder), "__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), scope)
    assert "length" in capsys.readouterr().out
