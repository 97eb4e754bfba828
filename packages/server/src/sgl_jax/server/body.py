"""From request bytes to a checked struct: one decode, every mistake a 400 that names its field."""

from __future__ import annotations

import difflib
import re
from typing import Generic, TypeVar

import msgspec
from fastapi import Request

from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import ApiError, bad_request
from sgl_jax.server.limits import Limits, read_body
from sgl_jax.server.valid_values import valid_values

T = TypeVar("T", bound=msgspec.Struct)

_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_AT = re.compile(r"^(?P<what>.*) - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_NO_NUMBER = re.compile(rb"[:,\[]\s*-?(?:NaN|Infinity)\b")


class BodyReader(Generic[T]):
    """Reads the JSON body of one route.

    Args:
        struct: what the body must be.
        nested: a struct inside it that forbids unknown fields; its names are offered when one is mistyped.
        optional: take no body at all for one without fields.
    """

    def __init__(self, struct: type[T], nested: type[msgspec.Struct] | None = None, *, optional: bool = False) -> None:
        self._optional = optional
        self._struct = struct
        self._decoder = msgspec.json.Decoder(struct)
        self._known = frozenset(struct.__struct_encode_fields__)
        self._nested = frozenset(nested.__struct_encode_fields__ if nested else ())

    async def read(self, request: Request, context: ServerContext) -> T:
        """The decoded body.

        Raises:
            ApiError: 400 for a bad body, 408, 413 or 415.
        """
        raw = await self._read_raw(request, context.limits)
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
            if context.limits.strict_fields:
                raise bad_request(f"Unknown field {name!r}.{_nearest(name, self._known)}", name, "unknown_field")
            context.unknown_fields.warn(request.url.path, name)
        return body

    async def _read_raw(self, request: Request, limits: Limits) -> bytes:
        if not self._optional:
            _check_content_type(request)
            return await read_body(request, limits)
        raw = await read_body(request, limits)
        if not raw:  # of whatever type
            return b"{}"
        _check_content_type(request)
        return raw

    def _invalid(self, message: str) -> ApiError:
        match = _AT.match(message)
        what, path = (match["what"], match["path"].lstrip(".")) if match else (message, "")
        if unknown := _UNKNOWN.match(what):
            name = unknown["name"]
            path = f"{path}.{name}" if path else name
            return bad_request(f"Unknown field {path!r}.{_nearest(name, self._nested)}", path, "unknown_field")
        if missing := _MISSING.match(what):
            path = f"{path}.{missing['name']}" if path else missing["name"]
            return bad_request(f"{path} is missing.", path)
        what = what[:1].lower() + what[1:]
        if what.startswith("invalid ") and (valid := valid_values(self._struct, path)):
            what += f"; it may be {' or '.join(filter(None, (', '.join(valid[:-1]), valid[-1])))}"
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
    elif _NO_NUMBER.search(raw):
        reason = "NaN and Infinity are no numbers in JSON"
    return bad_request(f"The body is not valid JSON: {reason}.", code="invalid_json")


def _nearest(name: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(name[:100], known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
