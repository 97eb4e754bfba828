"""From a `RequestSpec` to the bytes that go on the wire. Pure."""

from __future__ import annotations

import json
from typing import Any

from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.wire.address import ServerAddress
from sgl_jax.bench.workload.base import RequestSpec

_ROUTES = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


def generation_body(spec: RequestSpec, options: TargetOptions) -> dict[str, Any]:
    """Return the JSON body that asks for `spec`; what the workload says of a request wins over the options."""
    body: dict[str, Any] = {"model": options.model}
    if options.endpoint == "completions":
        body["prompt"] = spec.as_text()
    else:
        body["messages"] = [{"role": message.role, "content": message.content} for message in spec.messages]
    body |= {
        "max_tokens": spec.max_tokens,
        "temperature": options.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if options.seed is not None:
        body["seed"] = options.seed + spec.index
    if options.ignore_eos:
        body["ignore_eos"] = True
    return {**body, **spec.extra}


def generation_request(spec: RequestSpec, options: TargetOptions, address: ServerAddress) -> bytes:
    """Return the whole HTTP request for `spec`."""
    body = json.dumps(generation_body(spec, options), separators=(",", ":")).encode()
    return http_request("POST", _ROUTES[options.endpoint], options, address, body)


def http_request(
    method: str, path: str, options: TargetOptions, address: ServerAddress, body: bytes | None = None
) -> bytes:
    """Return an HTTP/1.1 request; `body` is JSON."""
    lines = [
        f"{method} {address.prefix}{path} HTTP/1.1",
        f"host: {address.host_header}",
        "user-agent: sgl-jax-bench",
        "accept: */*",
    ]
    if options.bearer:
        lines.append(f"authorization: Bearer {options.bearer}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
