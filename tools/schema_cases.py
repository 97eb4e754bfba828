"""JSON schemas made up at random, of the shapes that the public JSON-Schema-Test-Suite knows.

They are for one promise of structured output: whatever a model draws under one of them parses and validates, or the
schema was refused with the name of the keyword that stood in the way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

_NAMES = ("name", "size", "tags", "id", "ünïcode", "a b", 'quo"te', "x-y", "kind", "$ref", "items", "deep")
_WORDS = ("red", "green", "", "dark blue", "naïve", "a\nb", "tab\t", "\\", '"', "日本", "🎉", "0", "null")
_PATTERNS = (
    "^[a-z]{1,5}$", "^\\d{3}-\\d{4}$", "^\\w+$", "[0-9]", "^(ab|cd)*$", "^a.c$", "^[^\"\\\\]{2,4}$", "^\\S+ \\S+$",
    "^[A-Z][a-z]+( [A-Z][a-z]+)?$", "x$", "^$", "^(?:[01]\\d|2[0-3]):[0-5]\\d$", "a|b", "^/[a-z/]*$",
)  # fmt: skip
_REFUSED_PATTERNS = ("^(?!x)", "(a)\\1", "\\bword\\b", "(", "[z-a]")
_FORMATS = (
    "date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "uri", "hostname", "duration", "json-pointer",
    "iri", "password", "int32",
)  # fmt: skip
_REFUSED_FORMATS = ("regex", "uri-template", "uri-reference")
_RARELY_KEPT: tuple[tuple[str, Any], ...] = (
    ("uniqueItems", True),
    ("not", {"type": "null"}),
    ("if", {"type": "string"}),
    ("contains", {"type": "integer"}),
    ("dependentRequired", {"name": ["size"]}),
    ("propertyNames", {"maxLength": 3}),
    ("unevaluatedProperties", False),
    ("dependentSchemas", {"name": {"required": ["size"]}}),
    ("unevaluatedItems", False),
)


class SchemaMaker:
    """Makes schemas, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def make(self) -> Schema:
        """One document, with definitions if it happens to refer to some."""
        definitions: dict[str, Schema] = {}
        if self._chance(0.25):
            definitions["leaf"] = self._scalar()
            definitions["tree"] = {
                "type": "object",
                "properties": {"value": {"$ref": "#/$defs/leaf"}, "kids": self._kids()},
                "required": ["value"],
                "additionalProperties": False,
            }
        schema = self._schema(0, tuple(definitions))
        if definitions:
            schema = {**schema, "$defs": definitions}
        if self._chance(0.15):
            schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", **schema}
        return schema

    def _kids(self) -> Schema:
        return {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": self._random.randint(1, 2)}

    def _schema(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        makers: list[Callable[[int, tuple[str, ...]], Schema]] = [
            *([self._object] * 5 + [self._array] * 3),
            *(self._any_of, self._one_of, self._tagged, self._all_of, self._typed_union),
        ]
        if definitions:
            makers += [self._reference] * 3
        if depth >= 3 or (depth and self._chance(0.55)):
            schema = self._reference(depth, definitions) if definitions and self._chance(0.2) else self._scalar()
        else:
            schema = self._random.choice(makers)(depth + 1, definitions)
        if self._chance(0.012):
            keyword, value = self._random.choice(_RARELY_KEPT)
            schema = {**schema, keyword: value}
        if self._chance(0.1):
            schema = {"description": "what it is", **schema, "default": None, "examples": [1], "deprecated": True}
        return schema

    def _scalar(self) -> Schema:
        choose = self._random
        match choose.randrange(9):
            case 0 | 1 | 2:
                return self._string()
            case 3 | 4:
                return self._number()
            case 5:
                return {"type": choose.choice(["boolean", "null"])}
            case 6:
                return {"enum": choose.sample([*_WORDS, 1, -2.5, True, None, 10**12, [1, "a"], {"a": [None]}], 4)}
            case 7:
                return {"const": choose.choice([*_WORDS, 0, 1.5, -7, False, None, [], {"k": "v", "n": 2}])}
            case _:
                return {"type": choose.sample(["string", "integer", "null", "boolean"], 2), "maxLength": 8}

    def _string(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self._chance(0.7):
            schema["maxLength"] = self._random.choice([0, 1, 3, 12, 40])
        if self._chance(0.3):
            schema["minLength"] = self._random.choice([0, 1, 2])
        if self._chance(0.3):
            schema = {"type": "string", "pattern": self._random.choice(_PATTERNS)}
            if self._chance(0.05):
                schema["pattern"] = self._random.choice(_REFUSED_PATTERNS)
            elif self._chance(0.3):
                schema["maxLength"] = self._random.choice([5, 9, 20])
        elif self._chance(0.35):
            refused = self._chance(0.05)
            schema = {"type": "string", "format": self._random.choice(_REFUSED_FORMATS if refused else _FORMATS)}
        return schema

    def _number(self) -> Schema:
        schema: Schema = {"type": self._random.choice(["integer", "number"])}
        low = self._random.choice([-(10**6), -100, -1.5, -1, 0, 0.25, 1, 3, 1000])
        if self._chance(0.5):
            schema[self._random.choice(["minimum", "exclusiveMinimum"])] = low
        if self._chance(0.5):
            above = low + self._random.choice([0.5, 1, 2, 10, 12345])
            schema[self._random.choice(["maximum", "exclusiveMaximum"])] = above
        if self._chance(0.2):
            schema["multipleOf"] = self._random.choice([1, 2, 3, 5, 10, 0.5, 0.25])
        if self._chance(0.05):
            schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
        return schema

    def _object(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        names = self._random.sample(_NAMES, self._random.randint(0, 4))
        schema: Schema = {"type": "object", "properties": {name: self._schema(depth, definitions) for name in names}}
        schema["required"] = [name for name in names if self._chance(0.6)]
        if self._chance(0.1):
            schema["required"].append("beside")
        if self._chance(0.55):
            schema["additionalProperties"] = False
            schema["required"] = [name for name in schema["required"] if name in names]
        elif self._chance(0.5):
            schema["additionalProperties"] = self._scalar()
        if self._chance(0.1):
            schema["patternProperties"] = {self._random.choice(["^x-", "_id$"]): self._scalar()}
        if self._chance(0.1):
            schema["minProperties"] = self._random.randint(0, 2 if self._chance(0.2) else 1)
        if self._chance(0.1):
            if self._chance(0.9):  # otherwise it is refused
                schema["required"] = list(dict.fromkeys([*schema["required"], *names]))
            schema["maxProperties"] = max(len(schema["required"]) + self._random.randint(0, 2), 1)
        if not names and self._chance(0.3):
            schema["propertyNames"] = self._random.choice([{"pattern": "^[a-z]+$"}, {"enum": ["a", "b.c"]}])
        for keyword in ("properties", "required"):
            if not schema[keyword] and self._chance(0.5):
                del schema[keyword]
        return schema

    def _array(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        schema: Schema = {"type": "array", "items": self._schema(depth, definitions)}
        if self._chance(0.3):
            schema["prefixItems"] = [self._schema(depth, definitions) for _ in range(self._random.randint(1, 2))]
            schema["items"] = self._random.choice([False, schema["items"]])
        if self._chance(0.6):
            schema["maxItems"] = self._random.randint(0, 4)
        if self._chance(0.4):
            schema["minItems"] = self._random.randint(0, min(3, schema.get("maxItems", 3)))
        return schema

    def _any_of(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        return {"anyOf": [self._schema(depth, definitions) for _ in range(self._random.randint(1, 3))]}

    def _one_of(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        if self._chance(0.2):  # refused, unless they differ by chance
            return {"oneOf": [self._schema(depth, definitions) for _ in range(2)]}
        return {"oneOf": [self._object(depth, definitions), self._array(depth, definitions), {"type": "null"}]}

    def _tagged(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        """A union that says itself which branch it is, as Pydantic writes it."""
        branches = []
        for tag in self._random.sample(["cat", "dog", "cow"], 2):
            branch = self._object(depth, definitions)
            branch["properties"] = {"type": {"const": tag, "type": "string"}, **branch.get("properties", {})}
            branch["required"] = ["type", *branch.get("required", ())]
            branch.pop("maxProperties", None)
            branch.pop("propertyNames", None)
            branches.append(branch)
        return {"oneOf": branches, "discriminator": {"propertyName": "type"}}

    def _all_of(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        base = self._object(depth, definitions)
        base.pop("additionalProperties", None)
        more = {"properties": {"more": self._scalar()}, "required": ["more"]}
        return {"allOf": [base, {**more, "type": "object"}], **({"minProperties": 1} if self._chance(0.2) else {})}

    def _typed_union(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        return {**self._array(depth, definitions), **self._object(depth, definitions), "type": ["array", "object"]}

    def _reference(self, depth: int, definitions: tuple[str, ...]) -> Schema:
        if not definitions:
            return self._scalar()
        reference = {"$ref": f"#/$defs/{self._random.choice(definitions)}"}
        return {**reference, "description": "beside a reference"} if self._chance(0.2) else reference

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability
