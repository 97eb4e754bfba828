"""What a request says its answer must look like, in every dialect, as the grammar that the engine gets."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sgl_jax.engine.grammar import ANY_OBJECT, Grammar

pytestmark = pytest.mark.anyio

HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}}
CLOSED = {
    "type": "object",
    "properties": {"a": {"type": "object", "properties": {"b": {}}, "additionalProperties": False}},
    "additionalProperties": False,
}
TAG = {"type": "tag", "begin": "<f>", "content": {"type": "any_text"}, "end": "</f>"}
OLD_TAG = {"structures": [{"begin": "<f>", "schema": {}, "end": ""}], "triggers": ["<f"]}
TEXT = json.dumps(SCHEMA, separators=(",", ":"))

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/generate": {"text": "Hi"},
}


async def asked(http: httpx.AsyncClient, engine: Any, path: str, fields: dict[str, Any]) -> Grammar | None:
    body = {**BODIES[path], "sampling_params": fields} if path == "/generate" else {**BODIES[path], **fields}
    response = await http.post(path, json=body)
    assert response.status_code == 200, response.text
    grammar: Grammar | None = engine.submitted[-1].sampling.grammar
    return grammar


def schema_format(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMA, **fields}}}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, ANY_OBJECT),
        (schema_format(), Grammar(kind="json_schema", text=TEXT)),
        (schema_format(strict=None, description="It."), Grammar(kind="json_schema", text=TEXT)),
        (schema_format(strict=False), Grammar(kind="json_schema", text=TEXT, lenient=True)),
        (schema_format(strict=True), Grammar(kind="json_schema", text=json.dumps(CLOSED))),
        (
            {"response_format": {"type": "structural_tag", "format": TAG}},
            Grammar(kind="structural_tag", text=json.dumps({"format": TAG}, separators=(",", ":"))),
        ),
        (
            {"response_format": {"type": "structural_tag", **OLD_TAG}},
            Grammar(kind="structural_tag", text=json.dumps(OLD_TAG, separators=(",", ":"))),
        ),
        ({"guided_json": SCHEMA}, Grammar(kind="json_schema", text=TEXT)),
        ({"guided_json": "{}"}, Grammar(kind="json_schema", text="{}")),
        ({"guided_regex": "a+"}, Grammar(kind="regex", text="a+")),
        ({"guided_choice": ["a", "b"]}, Grammar(kind="choice", text='["a","b"]')),
        ({"guided_grammar": "root ::= 'a'"}, Grammar(kind="ebnf", text="root ::= 'a'")),
        ({"choice": ["a"]}, Grammar(kind="choice", text='["a"]')),
        ({"structured_outputs": {"json": SCHEMA}}, Grammar(kind="json_schema", text=TEXT)),
        ({"structured_outputs": {"choice": ["a"], "whitespace_pattern": "x"}}, Grammar(kind="choice", text='["a"]')),
        ({"structured_outputs": {"grammar": "start: x"}}, Grammar(kind="ebnf", text="start: x")),
        ({"structured_outputs": {"json_object": True}}, ANY_OBJECT),
        ({"structured_outputs": {"json_object": False}}, None),
        ({"regex": None, "response_format": None, "structured_outputs": None}, None),
    ],
)
async def test_openai_and_vllm(http: httpx.AsyncClient, engine: Any, path: str, fields: Any, grammar: Any) -> None:
    assert await asked(http, engine, path, fields) == grammar


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"json_schema": TEXT}, Grammar(kind="json_schema", text=TEXT)),
        ({"json_schema": SCHEMA}, Grammar(kind="json_schema", text=TEXT)),
        ({"json_schema": "$$ANY$$"}, ANY_OBJECT),
        ({"regex": "[0-9]+"}, Grammar(kind="regex", text="[0-9]+")),
        ({"ebnf": "root ::= 'a'"}, Grammar(kind="ebnf", text="root ::= 'a'")),
        ({"structural_tag": json.dumps(OLD_TAG)}, Grammar(kind="structural_tag", text=json.dumps(OLD_TAG))),
        ({"structural_tag": TAG}, Grammar(kind="structural_tag", text=json.dumps(TAG, separators=(",", ":")))),
    ],
)
async def test_sglang(http: httpx.AsyncClient, engine: Any, path: str, fields: Any, grammar: Any) -> None:
    assert await asked(http, engine, path, fields) == grammar


async def test_each_prompt_of_a_batch_has_its_own(http: httpx.AsyncClient, engine: Any) -> None:
    body = {"text": ["Hi", "Ho"], "sampling_params": [{"regex": "a"}, {}]}
    assert (await http.post("/generate", json=body)).status_code == 200
    assert [request.sampling.grammar for request in engine.submitted] == [Grammar(kind="regex", text="a"), None]


async def test_two_at_once_are_refused_by_name(http: httpx.AsyncClient, engine: Any) -> None:
    body = {"messages": HI, "regex": "a", **schema_format()}
    error = (await http.post("/v1/chat/completions", json=body)).json()["error"]
    assert error["message"].startswith("response_format and regex ")
    assert not engine.submitted


async def test_a_schema_too_deep_to_copy_is_refused(http: httpx.AsyncClient) -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"items": deep}
    for fields in (schema_format(strict=True, schema=deep), {"json_schema": deep}):
        response = await http.post("/v1/chat/completions", json={"messages": HI, **fields})
        assert response.status_code == 400
        assert "deeper" in response.json()["error"]["message"]
