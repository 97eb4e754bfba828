"""Where in its answer a model is when the prompt ends."""

from __future__ import annotations

from enum import Enum

from sgl_jax.server.parsing.reader import SPACE


class Start(Enum):
    """Where an answer begins."""

    UNKNOWN = "the answer says so itself"
    INSIDE = "the prompt has opened the reasoning"
    OUTSIDE = "the prompt has closed the reasoning, or begun the text"


def start_between(prompt: str, said: str | None, opening: str, closing: str) -> Start:
    """Where an answer begins in a format with an opening and a closing marker.

    Args:
        prompt: the whole prompt's text.
        said: the beginning of the answer that the model is to continue; None where it begins anew.
    """
    if said is not None:
        return Start.INSIDE if said.rfind(opening) > said.rfind(closing) else Start.OUTSIDE
    end = prompt[-256:].rstrip(SPACE)
    if end.endswith(opening):
        return Start.INSIDE
    return Start.OUTSIDE if end.endswith(closing) else Start.UNKNOWN
