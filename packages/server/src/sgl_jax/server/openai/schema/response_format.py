"""Fields by which a request says what its answer must look like."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class JsonSchemaFormat(msgspec.Struct, kw_only=True):
    """A JSON schema for the answer; `name` and `description` are for people.

    Every value that is generated fits the schema, and a keyword that cannot be kept to is refused. `strict: true` also
    closes objects (`additionalProperties: false`) where the schema does not say, and `strict: false` passes over such
    keywords instead of refusing them.
    """

    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    """The form that the answer must have. A structural tag stands under `format`, or in `structures` and `triggers`."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    format: dict[str, Any] | None = None
    structures: list[dict[str, Any]] | None = None
    triggers: list[str] | None = None


class StructuredOutputs(msgspec.Struct, kw_only=True):
    """vLLM's way to say it; one of these at a time."""

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | dict[str, Any] | None = None
