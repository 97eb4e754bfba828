"""From request bytes to a checked struct: one decode, every mistake a 400 that names its field."""

from __future__ import annotations

import difflib
import logging
import re
from typing import Generic, TypeVar

import msgspec
from fastapi import Request

from sgl_jax.server.errors import ApiError, bad_request
from sgl_jax.server.limits import Limits, read_body

T = TypeVar("T", bound=msgspec.Struct)

logger = logging.getLogger(__name__)

_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_AT = re.compile(r"^(?P<what>.*) - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MAX_WARNED = 1000


class UnknownFields:
    """Remembers which unknown field names were warned about, so that each is logged once."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, route: str, name: str) -> None:
        """Logs `name` the first time it is seen. Bounded: clients choose the names."""
        if name not in self._warned and len(self._warned) < _MAX_WARNED:
            self._warned.add(name)
            logger.warning("%s: ignoring the unknown field %r (--strict-fields refuses it)", route, name[:100])


class BodyReader(Generic[T]):
    """Reads the JSON body of one route.

    Args:
        struct: what the body must be.
        nested: a struct inside it that forbids unknown fields; its names are offered when one is mistyped.
    """

    def __init__(self, struct: type[T], nested: type[msgspec.Struct] | None = None) -> None:
        self._decoder = msgspec.json.Decoder(struct)
        self._known = frozenset(struct.__struct_encode_fields__)
        self._nested = frozenset(nested.__struct_encode_fields__ if nested else ())

    async def read(self, request: Request, limits: Limits, unknown: UnknownFields) -> T:
        """The decoded body.

        Raises:
            ApiError: 400 for a bad body, 408, 413 or 415.
        """
        _check_content_type(request)
        raw = await read_body(request, limits)
        try:
            body = self._decoder.decode(raw)
            keys = _KEYS.decode(raw).keys()
        except msgspec.ValidationError as error:
            raise self._invalid(str(error)) from None
        except RecursionError:
            raise bad_request("The body is nested too deeply.", code="invalid_json") from None
        except ValueError as error:  # malformed JSON or UTF-8
            raise _malformed(raw, error) from None
        for name in keys - self._known:
            if limits.strict_fields:
                raise bad_request(f"Unknown field {name!r}.{_nearest(name, self._known)}", name, "unknown_field")
            unknown.warn(request.url.path, name)
        return body

    def _invalid(self, message: str) -> ApiError:
        match = _AT.match(message)
        what, path = (match["what"], match["path"].lstrip(".")) if match else (message, "")
        if unknown := _UNKNOWN.match(what):
            name = unknown["name"]
            path = f"{path}.{name}" if path else name
            return bad_request(f"Unknown field {path!r}.{_nearest(name, self._nested)}", path, "unknown_field")
        what = what[:1].lower() + what[1:]
        return bad_request(f"{path}: {what}." if path else f"The body is invalid: {what}.", path or None)


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type and content_type != "application/json" and not content_type.endswith("+json"):
        message = f"Content-Type must be application/json, got {content_type!r}."
        raise ApiError(415, message, code="unsupported_media_type")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "Compressed request bodies are not supported.", code="unsupported_media_type")


def _malformed(raw: bytes, error: ValueError) -> ApiError:
    reason = str(error)
    if b"\\ud" in raw.lower() and "truncated" in reason:
        reason = "it holds a lone surrogate, or ends early"
    return bad_request(f"The body is not valid JSON: {reason}.", code="invalid_json")


def _nearest(name: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(name[:100], known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
