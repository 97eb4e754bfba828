"""The published schema is complete, and the web process stays free of JAX."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sgl_jax.engine.config.pooling import Pooling

pytestmark = pytest.mark.anyio

WITHOUT_BODY = {"/flush_cache", "/pause_generation", "/continue_generation", "/start_profile"}


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_reference_resolves_and_none_is_fastapis(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/openapi.json")).json()
    names = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(references(schema)) <= names
    assert "HTTPValidationError" not in json.dumps(schema)


async def test_every_route_says_what_it_takes_with_an_example_that_works(http: httpx.AsyncClient, engine: Any) -> None:
    schema = (await http.get("/openapi.json")).json()
    posts = {path: methods["post"] for path, methods in schema["paths"].items() if "post" in methods}
    assert {"/v1/chat/completions", "/v1/completions", "/generate", "/tokenize", "/detokenize"} <= posts.keys()
    for path, operation in posts.items():
        assert operation["responses"]["200"]
        if path in WITHOUT_BODY:
            assert (await http.post(path)).status_code == 200
            continue
        if path == "/stop_profile":  # none is being recorded, or the route above has begun one
            assert (await http.post(path)).status_code in (200, 400)
            continue
        if path.endswith("/cancel"):  # without a body, too, and nothing here can be cancelled
            assert (await http.post(path)).status_code == 404
            continue
        content = operation["requestBody"]["content"]["application/json"]
        assert content["schema"]["$ref"]
        assert operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("Response")
        engine.pooling = Pooling() if path in ("/v1/embeddings", "/v1/rerank", "/rerank") else None
        assert (await http.post(path, json=content["example"])).status_code == 200


async def test_fields_are_described(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    for name in ("ChatRequest", "CompletionRequest", "NativeSamplingParams", "ResponsesRequest", "MessagesRequest"):
        properties = schemas[name]["properties"]
        assert "temperature" in properties
        assert properties["temperature"]["description"]
    assert schemas["ChatRequest"]["required"] == ["messages"]


def test_the_web_process_never_imports_jax() -> None:
    code = (
        "import sys, sgl_jax.server.app; "
        "print([name for name in sys.modules if name.split('.')[0] in ('jax', 'jaxlib', 'flax', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
