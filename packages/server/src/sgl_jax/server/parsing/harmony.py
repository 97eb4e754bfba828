"""gpt-oss's harmony: an answer is a row of messages, each on a channel, some to a function.

    <|channel|>analysis<|message|>…<|end|>
    <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
    <|start|>assistant<|channel|>final<|message|>…<|return|>

The prompt ends with `<|start|>assistant`, so the first message begins behind that.
"""

from __future__ import annotations

import re

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.reasoning.start import Start
from sgl_jax.server.parsing.tools.declared import Tools

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, RETURN, CALL = "<|end|>", "<|return|>", "<|call|>"
MARKERS = (START, CHANNEL, MESSAGE, CONSTRAIN, END, RETURN, CALL)

_ENDS = Markers(END, RETURN, CALL, START, CHANNEL)
_HEADER_LIMIT = 512
_OPENED = re.compile(rf"{re.escape(CHANNEL)}(\w+)[^<]*{re.escape(MESSAGE)}\s*\Z")
_HEADER = re.compile(  # of words with one space between, so that it cannot take long
    rf"(?:assistant ?)?(?:to=(?P<early>[\w.-]+) ?)?"
    rf"(?:{re.escape(CHANNEL)} (?P<channel>analysis|commentary|final) ?(?:to=(?P<late>[\w.-]+) ?)?)?"
    rf"(?:{re.escape(CHANNEL)} commentary ?)?"  # a second time, behind the recipient
    rf"(?:{re.escape(CONSTRAIN)} ?)?(?:[a-z_]+)?",
    re.ASCII,
)
_FUNCTIONS = "functions."


def harmony_start(prompt: str, said: str | None) -> Start:
    """Where an answer begins; see `start_between`."""
    if said is not None:
        return Start.OUTSIDE
    opened = _OPENED.search(prompt[-256:])
    if opened is None:
        return Start.UNKNOWN
    return Start.INSIDE if opened[1] == "analysis" else Start.OUTSIDE


def harmony(text: Reader, output: Output, tools: Tools | None, *, separate: bool, start: Start) -> Reading[None]:
    """Reads an answer.

    Args:
        tools: declared functions; None when calls were not asked for, so that they are content.
        separate: whether analysis is reasoning, or content like the rest.
    """
    analysis = output.reasoning if separate else output.content
    ended_by = END  # so to speak: a message may begin
    if start is not Start.UNKNOWN:
        body = analysis if start is Start.INSIDE else output.content
        ended_by = yield from text.copy_until(_ENDS, body)
    while ended_by:
        if ended_by not in (START, CHANNEL):  # else the reader holds the header's own first marker
            text.hold()
        try:
            header = yield from _header(text, ended_by)
        except Malformed:
            output.content(text.give_back())
            ended_by = yield from text.copy_until(_ENDS, output.content)
            continue
        text.release()
        function = header["early"] or header["late"]
        if function and _is_call(function, tools):
            ended_by = yield from _call(text, output, function.removeprefix(_FUNCTIONS))
        else:
            body = analysis if header["channel"] == "analysis" else output.content
            ended_by = yield from text.copy_until(_ENDS, body)


def _is_call(recipient: str, tools: Tools | None) -> bool:
    # Other recipients are tools that gpt-oss was trained with; who didn't declare them cannot answer them.
    if tools is None:
        return False
    return recipient in tools or (recipient.startswith(_FUNCTIONS) and recipient != _FUNCTIONS)


def _header(text: Reader, ended_by: str) -> Reading[re.Match[str]]:
    """Reads a message's header and what opens its body. Raises `Malformed` where none begins."""
    opening = CHANNEL if ended_by == CHANNEL else ""
    if ended_by not in (START, CHANNEL):
        opening = yield from text.accept(START, CHANNEL, " to=", "to=")
        if not opening:
            raise Malformed
    written = opening.removeprefix(START) + (yield from text.until(MESSAGE, _HEADER_LIMIT))
    for marker in (CHANNEL, CONSTRAIN):
        written = written.replace(marker, f" {marker} ")
    header = _HEADER.fullmatch(" ".join(written.split()))
    if header is None:
        raise Malformed
    return header


def _call(text: Reader, output: Output, name: str) -> Reading[str]:
    """Reads a call's arguments, which end with the message, and returns what ended it."""
    written = False

    def give_out(piece: str) -> None:
        nonlocal written
        written = written or bool(piece)
        output.arguments(piece)

    output.begin(name)
    ended_by = yield from text.copy_until(_ENDS, give_out)
    if not written:
        output.arguments("{}")
    output.end()
    return ended_by
