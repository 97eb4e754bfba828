"""The text around tool calls."""

from __future__ import annotations

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import SPACE, Markers, Reader, Reading


def copy_content(text: Reader, output: Output, markers: Markers) -> Reading[str]:
    """Gives content out up to a marker, which is read.

    White space right before a marker belongs to the call, and so does what follows the last one;
    the reader holds it with the marker, so that a malformed call is given back whole.

    Returns:
        The marker; empty at the end of the text.
    """

    def give_out(piece: str) -> None:
        if not (output.after_call and not piece.strip(SPACE)):
            output.content(piece)

    return (yield from text.copy_until(markers, give_out, trim=SPACE))


def give_back(text: Reader, output: Output) -> None:
    """Makes content of what was read since `hold`; mere white space is read anew, with what follows it."""
    if text.held.strip(SPACE):
        output.content(text.give_back())
    else:
        text.rewind()
