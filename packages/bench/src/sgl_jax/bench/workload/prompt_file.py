"""A text file with one prompt a line."""

from __future__ import annotations

from pathlib import Path

from sgl_jax.bench.workload.files import read_text
from sgl_jax.bench.workload.prompts import PromptCycle


def read_prompt_file(path: Path, max_tokens: int) -> PromptCycle:
    """Read the prompts of `path`: UTF-8, one a line, blank lines skipped, outer white space dropped.

    Raises:
        WorkloadError: the file cannot be read, is not UTF-8, or holds no prompt.
    """
    text = read_text(path, "prompt file")
    # Not splitlines(): that also breaks at form feeds and U+2028, which may stand inside a prompt.
    prompts = [line.strip() for line in text.split("\n") if line.strip()]
    return PromptCycle(f"prompt file {path.name}", prompts, max_tokens)
