"""Reasoning between two markers at the beginning of an answer, such as `<think>…</think>`."""

from __future__ import annotations

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Markers, Reader, Reading
from sgl_jax.server.parsing.reasoning.start import Start

_BREAKS = "\r\n"
"""Line breaks next to a marker are the template's layout, and no part of either text."""


def think(text: Reader, output: Output, opening: str, closing: str, start: Start) -> Reading[None]:
    """Reads an answer that may begin with reasoning.

    Args:
        opening, closing: the markers.
        start: whether the prompt has opened the reasoning already; then the answer may still repeat the marker.
    """
    text.hold()
    yield from text.skip_space()
    if (yield from text.accept(opening)):
        start = Start.INSIDE
        text.release()
    else:
        text.rewind()
    if start is not Start.INSIDE:
        return
    yield from text.skip(_BREAKS)
    if (yield from text.copy_until(Markers(closing), output.reasoning, trim=_BREAKS)):
        text.release()
        yield from text.skip(_BREAKS)
