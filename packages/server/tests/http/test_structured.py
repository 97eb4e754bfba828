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


@pytest.mark.parametrize(
    ("said", "setup", "after", "opening"),
    [
        ("", {}, "</think>", "<think>"),
        ("<think>\n", {}, "</think>", ""),
        ("<think>\n\n</think>\n\n", {}, "", ""),
        ("", {"reasoning": "none"}, "", ""),
        ("", {"reasoning": "deepseek-r1"}, "</think>", ""),
        ("", {"reasoning": "mistral"}, "[/THINK]", "[THINK]"),
        ("", {"reasoning": "gpt-oss"}, "<|channel|>final<|message|>", ""),
        ("<|channel|>final<|message|>", {"reasoning": "gpt-oss"}, "", ""),
    ],
)
async def test_it_begins_behind_the_reasoning(
    make_speaker: Any, connect: Any, said: str, setup: dict[str, str], after: str, opening: str
) -> None:
    template = f"{{# </think> #}}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{said}"
    app, engine = make_speaker("a", template, **{"tools": "none", **setup})
    async with connect(app) as http:
        response = await http.post("/v1/chat/completions", json={"messages": HI, "regex": "a"})
        assert response.status_code == 200, response.text
        await http.post("/v1/completions", json={"prompt": "Hi", "regex": "a"})
    chat, plain = (request.sampling.grammar for request in engine.submitted)
    assert chat == Grammar(kind="regex", text="a", after=after, opening=opening)
    assert plain == Grammar(kind="regex", text="a")


F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
STRICT = {"type": "function", "function": {**F["function"], "strict": True}}  # type: ignore[dict-item]
QWEN = "{# </think> <tool_call> #}{% for m in messages %}{{ m.content }}{% endfor %}"
GPT_OSS = "{# <|channel|> <|message|> #}{% for m in messages %}{{ m.content }}{% endfor %}"


async def held_to(make_speaker: Any, connect: Any, template: str, **fields: Any) -> Grammar | None:
    app, engine = make_speaker("a", template)
    async with connect(app) as http:
        response = await http.post("/v1/chat/completions", json={"messages": HI, **fields})
        assert response.status_code == 200, response.text
    grammar: Grammar | None = engine.submitted[0].sampling.grammar
    return grammar


def root_of(grammar: Grammar | None) -> Any:
    assert grammar is not None
    assert grammar.kind == "structural_tag"
    return json.loads(grammar.text)["format"]


async def test_free_tools_bind_nothing_unless_strict(make_speaker: Any, connect: Any) -> None:
    assert await held_to(make_speaker, connect, QWEN, tools=[F]) is None
    assert await held_to(make_speaker, connect, QWEN, tools=[STRICT], tool_choice="none") is None
    grammar = await held_to(make_speaker, connect, QWEN, tools=[STRICT, F])
    root = root_of(grammar)
    assert grammar is not None
    assert (grammar.after, grammar.opening, grammar.optional) == ("</think>", "<think>", True)
    assert (root["type"], root["triggers"]) == ("triggered_tags", ["<tool_call>"])
    contents = [tag["content"] for tag in root["tags"]]
    assert [content["lenient"] for content in contents] == [False, True]
    assert [content["json_schema"].get("additionalProperties") for content in contents] == [False, None]


async def test_required_calls_come_behind_the_reasoning(make_speaker: Any, connect: Any) -> None:
    grammar = await held_to(make_speaker, connect, QWEN, tools=[F], tool_choice="required", regex="a")
    assert grammar is not None
    assert (grammar.after, grammar.opening, grammar.optional) == ("</think>", "<think>", False)
    (calls,) = root_of(grammar)["elements"]
    assert (calls["at_least_one"], calls["stop_after_first"]) == (True, False)


async def test_a_form_may_give_way_to_calls(make_speaker: Any, connect: Any) -> None:
    for fields, kind in (
        ({"regex": "a"}, "regex"),
        ({"json_schema": {}}, "json_schema"),
        ({"choice": ["b"]}, "const_string"),
    ):
        form, calls = root_of(await held_to(make_speaker, connect, QWEN, tools=[F], **fields))["elements"]
        assert form["type"] == kind
        assert calls["type"] == "sequence"
    # What cannot stand in a structural tag, or is wrong, is left as it is.
    for fields in {"ebnf": "start: x"}, {"json_schema": "{"}, {"structural_tag": OLD_TAG}:
        grammar = await held_to(make_speaker, connect, QWEN, tools=[F], **fields)
        assert grammar is not None
        assert grammar.text in ("start: x", "{", json.dumps(OLD_TAG, separators=(",", ":")))


async def test_harmony_has_its_own_ways(make_speaker: Any, connect: Any) -> None:
    forced = await held_to(make_speaker, connect, GPT_OSS, tools=[F], tool_choice="required")
    assert forced is not None
    assert (forced.after, root_of(forced)["elements"][0]["type"]) == ("", "optional")
    strict = await held_to(make_speaker, connect, GPT_OSS, tools=[STRICT])
    assert strict is not None
    assert (strict.after, strict.optional) == ("to=functions.", True)
    both = await held_to(make_speaker, connect, GPT_OSS, tools=[F], regex="a")
    assert both == Grammar(kind="regex", text="a", after="<|channel|>final<|message|>", optional=True)


@pytest.mark.parametrize("template", [QWEN, "{# <tool_call> <arg_key> #}x"])
async def test_tools_that_no_grammar_can_hold(make_speaker: Any, connect: Any, template: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"items": deep}
    app, engine = make_speaker("a", template)
    async with connect(app) as http:
        for parameters in ({"properties": {"a": deep}}, {"anyOf": [{}], "properties": {"a": deep}}):
            tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
            for choice in ("required", "auto"):
                body = {"messages": HI, "tools": [tool], "tool_choice": choice}
                response = await http.post("/v1/chat/completions", json=body)
                assert (response.status_code, response.json()["error"]["param"]) == (400, "tools")
    assert not engine.submitted
