"""Structured output: answers that have to match a JSON schema, which costs a server a grammar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import RequestSpec, Workload
from sgl_jax.bench.workload.files import read_json
from sgl_jax.bench.workload.prompts import PromptCycle

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "year": {"type": "integer"},
        "rating": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "author": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "country": {"type": "string"}},
            "required": ["name", "country"],
            "additionalProperties": False,
        },
    },
    "required": ["title", "year", "rating", "tags", "author"],
    "additionalProperties": False,
}

_TASKS = tuple(
    f"Invent a book about {topic} and describe it as JSON with title, year, rating, tags and author."
    for topic in ("the sea", "a long winter", "two sisters", "a lost city", "the first machine")
)


class Structured:
    """Another workload's requests, with a `response_format` that asks for a JSON schema.

    Args:
        inner: what is asked.
        schema: what the answer has to match.
        source: where the schema comes from, for the name.
    """

    def __init__(self, inner: Workload, schema: dict[str, Any], source: str) -> None:
        self._inner = inner
        self._source = source
        described = {"name": "answer", "schema": schema, "strict": True}
        self._format = {"type": "json_schema", "json_schema": described}

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return f"{self._inner.name}, answers as {self._source}"

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the requests."""
        for spec in self._inner.requests():
            yield self._structured(spec)

    def _structured(self, spec: RequestSpec) -> RequestSpec:
        follow = spec.next_turn
        return replace(
            spec,
            extra={**spec.extra, "response_format": self._format},
            next_turn=None if follow is None else lambda answer: self._structured(follow(answer)),
        )


def structured_tasks(max_tokens: int, schema_file: Path | None = None) -> Structured:
    """Return built-in tasks whose answers have to match a built-in schema, or the one of `schema_file`.

    Raises:
        WorkloadError: the file holds no JSON object.
    """
    tasks = PromptCycle("built-in tasks", _TASKS, max_tokens)
    if schema_file is None:
        return Structured(tasks, _SCHEMA, "a built-in JSON schema")
    return with_schema(tasks, schema_file)


def with_schema(inner: Workload, schema_file: Path) -> Structured:
    """Return `inner` with answers that have to match the JSON schema of a file.

    Raises:
        WorkloadError: the file holds no JSON object.
    """
    schema = read_json(schema_file, "JSON schema")
    if not isinstance(schema, dict):
        raise WorkloadError(f"JSON schema {schema_file} is not an object, {{...}}")
    return Structured(inner, schema, f"JSON schema {schema_file.name}")
