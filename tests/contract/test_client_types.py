"""Server and client describe the same bodies, each in its own words; here the words are compared.

Every body that the server's structs allow is understood by the client's models, down to the last field: nothing is
refused, changed, or left among the fields that the client does not know. And every keyword of the client is a field
that the server takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect
from pydantic import BaseModel

from sgl_jax.client import APIError, BadRequestError, InternalServerError, RateLimitError, ServiceUnavailableError
from sgl_jax.client._exceptions import error_from_body
from sgl_jax.client.types import admin, chat, completion, generate, params, search, server, tokens
from sgl_jax.server import errors, health, server_info, tokenization
from sgl_jax.server.native import admin as native_admin
from sgl_jax.server.native import schema as native
from sgl_jax.server.openai.schema import chat as openai_chat
from sgl_jax.server.openai.schema import common as openai_common
from sgl_jax.server.openai.schema import completions as openai_completions
from sgl_jax.server.openai.schema import models as openai_models
from sgl_jax.server.search import schema as search_schema

ANSWERS: list[tuple[type[msgspec.Struct], type[BaseModel]]] = [
    (openai_chat.ChatCompletion, chat.ChatCompletion),
    (openai_chat.ChatChunk, chat.ChatCompletionChunk),
    (openai_completions.Completion, completion.Completion),
    (openai_models.ModelCard, server.ModelCard),
    (openai_models.ModelList, server.ModelList),
    (native.NativeAnswer, generate.GenerateResponse),
    (search_schema.ScoreAnswer, search.Scores),
    (search_schema.RerankAnswer, search.Ranking),
    (tokenization.TokenizeAnswer, tokens.Tokens),
    (tokenization.DetokenizeAnswer, tokens.Text),
    (tokenization.TemplateAnswer, tokens.Text),
    (server_info.Load, admin.EngineLoad),
    (server_info.ModelInfo, admin.ModelInfo),
    (native_admin.Done, admin.Done),
    (native.Aborted, admin.Aborted),
]

REQUESTS: list[tuple[Any, type[msgspec.Struct]]] = [
    (params.ChatParams, openai_chat.ChatRequest),
    (params.CompletionParams, openai_completions.CompletionRequest),
    (params.GenerateParams, native.NativeRequest),
    (params.SamplingParams, native.NativeSamplingParams),
    (params.StreamOptions, openai_common.StreamOptions),
    (params.TokenizeParams, tokenization.TokenizeRequest),
    (params.TemplateParams, tokenization.TemplateRequest),
    (search.EmbeddingParams, search_schema.EmbeddingRequest),
    (search.ScoreParams, search_schema.ScoreRequest),
    (search.RerankParams, search_schema.RerankRequest),
]


def bodies(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Every JSON value that msgspec would write for a type."""
    match kind:
        case inspect.Metadata(type=inner):
            return bodies(inner)
        case inspect.StructType(fields=fields):
            required = {field.encode_name: bodies(field.type) for field in fields if field.required}
            optional = {field.encode_name: bodies(field.type) for field in fields if not field.required}
            return st.fixed_dictionaries(required, optional=optional)
        case inspect.ListType(item_type=item):
            return st.lists(bodies(item), max_size=2)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(bodies, items)).map(list)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(bodies(key), bodies(value), max_size=2)
        case inspect.UnionType(types=types):
            return st.one_of(*(bodies(one) for one in types if not isinstance(one, inspect.CustomType)))
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.IntType():
            return st.integers(-(2**63), 2**63 - 1)
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.StrType():
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case _:
            raise NotImplementedError(f"teach this test about {kind}")


def unknown(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all fields that the client's models had no place for."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from unknown(item, f"{path}[]")


@pytest.mark.parametrize(("struct", "model"), ANSWERS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_client_understands_all_that_the_server_says(
    struct: type[msgspec.Struct], model: type[BaseModel], data: st.DataObject
) -> None:
    body = data.draw(bodies(inspect.type_info(struct)))
    # The generated body is one that the server could really have written.
    written = msgspec.json.encode(msgspec.convert(body, struct))
    read = model.model_validate_json(written)
    assert list(unknown(read)) == []
    assert read.model_dump(mode="json", exclude_unset=True) == msgspec.json.decode(written)


@pytest.mark.parametrize(("keywords", "struct"), REQUESTS, ids=lambda kind: kind.__name__)
def test_the_server_takes_every_keyword_of_the_client(keywords: Any, struct: type[msgspec.Struct]) -> None:
    own = keywords.__annotations__.keys() - params.RequestOptions.__annotations__.keys()
    assert own
    assert own <= {field.encode_name for field in msgspec.structs.fields(struct)}


def test_health_is_understood() -> None:
    body = msgspec.to_builtins(health.Health(status="starting", phase="compiling 3/12"))
    read = server.Health.model_validate({"ok": True, **body})
    assert read.description == "compiling 3/12"
    assert list(unknown(read)) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.bad_request("no", param="temperature", code="c"), BadRequestError),
        (errors.queue_full("full"), RateLimitError),
        (errors.unavailable("later"), ServiceUnavailableError),
        (errors.internal_error(), InternalServerError),
    ],
)
@pytest.mark.parametrize("in_stream", [False, True])
def test_errors_keep_their_meaning(error: errors.ApiError, kind: type[APIError], in_stream: bool) -> None:
    """Also inside a stream, where there is no status."""
    body = msgspec.json.decode(errors.encode_error(error))
    read = error_from_body(body, status=None if in_stream else error.status, request_id=None)
    assert type(read) is kind
    detail = error.detail
    assert (read.message, read.type, read.param, read.code) == (detail.message, detail.type, detail.param, detail.code)
