"""Request bodies that nobody sends on purpose: mutations of what `/openapi.json` shows, the same for the same seed.

A body begins as a route's example, or as fields of its schema with plausible values, and is then bent: values of
another type, numbers at and beyond every edge, texts that break encoders, keys that are missing or belong elsewhere,
nesting without end; and at last bytes that are changed, cut out or doubled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 127, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.0, 0.5, 1e-320, 1.5,
    1e308, -1e308, 1e-7,
)  # fmt: skip
_TEXTS = (
    "", " ", "a", "\0", "\ud800", "\udfff x", "é", "e\u0301", "👩‍👩‍👧‍👦", "\u202e\ufeff", "<|im_start|>", "<|im_end|>",
    "</think>", "<tool_call>", "{{ 7 * 7 }}", "{% for i in range(9) %}x{% endfor %}", "../../etc/passwd", "NaN", "null",
    "a" * 3000,
    "(a+)+$", "(" * 200, "[a-", "\\p{L}{1,999}", "(?:a{1,500}){1,500}", "start: start", 'root ::= "a" root',
    '{"type": "object"}',
    "\n\r\t\x1b[31m", "application/json", "'; DROP TABLE users; --", "%s%n%x", "default",
)  # fmt: skip
_FORMS: tuple[Any, ...] = (
    {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}},
    {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}, {"type": "json_schema"}, {"type": "text"},
    {"type": "json_schema", "json_schema": {"schema": {"uniqueItems": True}, "strict": True}},
    {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]},
    {"anyOf": [{"pattern": "^(a|b)*$"}, {"type": ["string", "null"], "minLength": 10**9}]},
    [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    [{"type": "function", "function": {"name": "f" * 999}}], {"type": "function", "function": {"name": "f"}},
    [{"role": "tool", "content": "x"}], [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}],
    [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]}],
    {"1": 100, "-1": 5, "99999999": 1}, {"include_usage": True}, [[1], [2, 3]], [[]], [1, "a", None], ["x"] * 40,
    {"type": "structural_tag", "format": {"type": "any_text"}}, {"choice": ["a", "b"]}, "required", "none",
)  # fmt: skip


_LONGEST_REPEATED = 1000
"""Characters; repeated repetitions would make bodies of gigabytes."""


LEFT_OUT = frozenset({"/pause_generation"})
"""Once it was taken there, nothing else would be answered."""


class Body(NamedTuple):
    """One request."""

    method: str
    path: str
    content_type: str
    content: bytes


class _Route(NamedTuple):
    method: str
    path: str
    example: dict[str, Any]
    properties: dict[str, Any]


class BodyMaker:
    """Makes bodies for all routes of a document that take one.

    Args:
        document: what `/openapi.json` says.
        seed: of all bodies together.
    """

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self._seed = seed
        self._routes = list(_routes(document))
        self._keys = sorted({name for route in self._routes for name in route.properties})

    @property
    def routes(self) -> list[str]:
        """Method and path of each route."""
        return [f"{route.method} {route.path}" for route in self._routes]

    def make(self, number: int) -> Body:
        """The body with this number, whatever was made before."""
        round_, at = divmod(number, len(self._routes))
        route = self._routes[at]
        dice = random.Random(f"{self._seed} {route.method} {route.path} {round_}")
        value: Any = json.loads(json.dumps(route.example))
        for name in dice.sample(sorted(route.properties), min(len(route.properties), dice.choice([0, 0, 1, 2, 5]))):
            value[name] = self._plausible(route.properties[name], dice)
        for _ in range(dice.choice([0, 0, 1, 1, 1, 2, 4])):
            value = self._bend(value, dice)
        content = _encode(value, dice)
        for _ in range(dice.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, 3])):
            content = _spoil(content, dice)
        content_type = "application/json" if dice.random() < 0.98 else dice.choice(["text/plain", "", "a/b+json", "ü"])
        return Body(route.method, route.path, content_type, content)

    def _plausible(self, schema: dict[str, Any], dice: random.Random) -> Any:
        """A value that may even be right."""
        if "enum" in schema:
            return dice.choice(schema["enum"])
        if choices := schema.get("anyOf", schema.get("oneOf")):
            return self._plausible(dice.choice(choices), dice)
        match schema.get("type"):
            case "integer":
                return dice.randint(int(schema.get("minimum", 0)), int(schema.get("maximum", 8)))
            case "number":
                return dice.uniform(float(schema.get("minimum", -1)), float(schema.get("maximum", 1)))
            case "boolean":
                return dice.random() < 0.5
            case "string":
                return dice.choice(_TEXTS)
            case "array":
                return [self._plausible(schema.get("items") or {}, dice) for _ in range(dice.randint(0, 3))]
            case "null":
                return None
            case _:
                return self._strange(dice)

    def _bend(self, value: Any, dice: random.Random) -> Any:
        """The same value with one place in it changed."""
        places = list(_places(value))
        holder, key = dice.choice(places) if places else (None, None)
        if holder is None or dice.random() < 0.01:
            return self._strange(dice)
        ways: list[Callable[[], None]] = [lambda: holder.__setitem__(key, self._strange(dice))] * 4
        ways.append(lambda: holder.__delitem__(key))
        ways.append(lambda: holder.__setitem__(key, _repeated(holder[key], dice)))
        ways.append(lambda: holder.__setitem__(key, _nested(holder[key], dice)))
        if isinstance(holder, dict):
            ways += [lambda: holder.__setitem__(dice.choice(self._keys), self._strange(dice))] * 3
            ways.append(lambda: holder.__setitem__(dice.choice(_TEXTS), holder.pop(key)))
        dice.choice(ways)()
        return value

    def _strange(self, dice: random.Random) -> Any:
        pools: tuple[tuple[Any, ...], ...] = (_NUMBERS, _TEXTS, _FORMS, (None, True, False, [], {}))
        chosen = dice.choice(dice.choice(pools))
        return json.loads(json.dumps(chosen)) if isinstance(chosen, dict | list) else chosen


def _routes(document: dict[str, Any]) -> Iterator[_Route]:
    for path, operations in sorted(document["paths"].items()):
        if path in LEFT_OUT:
            continue
        for method in sorted({"post", "put", "patch"} & operations.keys()):
            described: dict[str, Any] = operations[method].get("requestBody") or {}
            content: dict[str, Any] = described.get("content", {}).get("application/json", {})
            schema: dict[str, Any] = content.get("schema", {})
            named = schema.get("$ref", "").rpartition("/")[2]
            schema = document.get("components", {}).get("schemas", {}).get(named, schema)
            example = content.get("example") or {}
            yield _Route(method.upper(), path, example, schema.get("properties", {}))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place within lists and objects, as holder and key."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


def _repeated(value: Any, dice: random.Random) -> list[Any]:
    times = dice.choice([1, 2, 50])
    return [value] * times if len(json.dumps(value)) < _LONGEST_REPEATED else [value]


def _nested(value: Any, dice: random.Random) -> Any:
    for _ in range(dice.choice([1, 3, 100, 200])):
        value = [value] if dice.random() < 0.5 else {"a": value}
    return value


def _encode(value: Any, dice: random.Random) -> bytes:
    """JSON, escaped or not; lone surrogates and numbers that JSON lacks stay as Python writes them."""
    if dice.random() < 0.02:
        value = {"prompt": float(dice.choice(["nan", "inf", "-inf"])), "temperature": float("nan"), "x": value}
    return json.dumps(value, ensure_ascii=dice.random() < 0.7).encode("utf-8", "surrogatepass")


def _spoil(content: bytes, dice: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled or put in."""
    at = dice.randint(0, len(content))
    end = min(len(content), at + dice.choice([1, 1, 4, 30]))
    piece = dice.choice(
        [b"", bytes([dice.randrange(256)]), content[at:end] * 2, b"\xff", b'"', b"{", b"[", b"1e999", b"\\ud83d"]
    )
    return content[:at] + piece + content[end:]
