"""The README's Python blocks run, top to bottom, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_every_python_block_runs(server_url, capsys):
    assert len(BLOCKS) >= 15
    code = "\n".join(BLOCKS).replace("http://127.0.0.1:30000", server_url)
    names: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert "It is a fine day." in printed
    assert "temperature must be >= 0" in printed
    assert "[4, 5]" in printed
    assert "Rome 2800000" in printed
    assert "3/3" in printed
    assert "['Italy', 'Italy']" in printed
