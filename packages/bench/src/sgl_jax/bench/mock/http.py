"""As much HTTP/1.1 as the mock needs: read a request, write an answer or a chunked stream."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


class BadRequestError(Exception):
    """The peer sent something that is not a request this server understands."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One parsed request; `path` has no query string."""

    method: str
    path: str
    body: bytes
    keep_alive: bool

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            BadRequestError: it is something else.
        """
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise BadRequestError(f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadRequestError("the body is not a JSON object")
        return value


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read one request; None when the peer closed the connection between two requests.

    Raises:
        BadRequestError: the head or the length is malformed or too long.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise BadRequestError("the connection closed inside a request head") from error
    except asyncio.LimitOverrunError as error:
        raise BadRequestError(f"the request head is longer than {MAX_HEAD_BYTES} bytes") from error
    request_line, *header_lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = request_line.split(" ")
    except ValueError as error:
        raise BadRequestError("malformed request line") from error
    headers = {}
    for line in header_lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise BadRequestError(f"content-length must be a number up to {MAX_BODY_BYTES}")
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise BadRequestError("the connection closed inside a request body") from error
    keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return HttpRequest(method, target.partition("?")[0], body, keep_alive)


def json_response(status: int, value: dict[str, Any]) -> bytes:
    """Return a whole response with a JSON body."""
    return _response(status, "application/json", json.dumps(value, separators=(",", ":")).encode())


def text_response(text: str) -> bytes:
    """Return a whole response with plain text."""
    return _response(200, "text/plain; charset=utf-8", text.encode())


def _response(status: int, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def error_response(status: int, message: str) -> bytes:
    """Return a whole response in OpenAI's error shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return json_response(status, {"error": {"message": message, "type": kind, "param": None, "code": None}})


def sse_chunk(data: bytes) -> bytes:
    """Return one server-sent event as one HTTP chunk."""
    event = b"data: " + data + b"\n\n"
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"
