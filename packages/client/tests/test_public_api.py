"""The public surface: a name more or less is a decision, not an accident."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest

import sgl_jax.client
import sgl_jax.client.tools
import sgl_jax.client.types


def test_names_of_the_package():
    assert sgl_jax.client.__all__ == [
        "APIConnectionError",
        "APIError",
        "APITimeoutError",
        "AnswerError",
        "AsyncSglJax",
        "AuthenticationError",
        "BadRequestError",
        "InternalServerError",
        "InvalidResponseError",
        "NotFoundError",
        "NotReadyError",
        "PermissionDeniedError",
        "RateLimitError",
        "RefusedAnswerError",
        "RequestTooLargeError",
        "ServiceUnavailableError",
        "SglJax",
        "SglJaxClientError",
        "StreamError",
        "ToolLimitError",
        "TruncatedAnswerError",
        "UnfitAnswerError",
    ]


def test_names_of_the_types():
    assert sgl_jax.client.types.__all__ == [
        "Aborted",
        "BatchResult",
        "ChatChoice",
        "ChatChunkChoice",
        "ChatCompletion",
        "ChatCompletionChunk",
        "ChatDelta",
        "ChatLogprobs",
        "ChatMessage",
        "ChatParams",
        "Completion",
        "CompletionChoice",
        "CompletionLogprobs",
        "CompletionParams",
        "Done",
        "EmbeddingItem",
        "EmbeddingParams",
        "Embeddings",
        "EngineLoad",
        "EngineStats",
        "FinishReason",
        "FunctionCall",
        "GenerateParams",
        "GenerateResponse",
        "Health",
        "LoraAdapters",
        "MessageParam",
        "Messages",
        "MetaInfo",
        "MetricSample",
        "Metrics",
        "ModelCard",
        "ModelInfo",
        "ModelList",
        "ParseParams",
        "ParsedChatCompletion",
        "PromptLogprob",
        "PromptTokensDetails",
        "RankedDocument",
        "RankedText",
        "Ranking",
        "RequestOptions",
        "RerankParams",
        "ResponseFormat",
        "RunToolsParams",
        "SamplingParams",
        "ScoreParams",
        "Scores",
        "ServerInfo",
        "StreamOptions",
        "TemplateParams",
        "Text",
        "TokenizeParams",
        "Tokens",
        "ToolCall",
        "ToolRun",
        "Usage",
    ]
    assert all(hasattr(sgl_jax.client.types, name) for name in sgl_jax.client.types.__all__)


def test_types_are_told_to_users():
    """That they are right, `tools/wheel_smoke.py` has mypy say of `typed_program.py`."""
    assert resources.files("sgl_jax.client").joinpath("py.typed").is_file()


def test_names_of_the_tools():
    assert sgl_jax.client.tools.__all__ == ["Tool", "ToolError"]


@pytest.mark.parametrize("client", [sgl_jax.client.SglJax, sgl_jax.client.AsyncSglJax])
def test_names_of_a_client(client):
    names = {name for name in dir(client("http://h")) if not name.startswith("_")}
    assert names == {
        *("chat", "completions", "generate", "models", "health", "tokenize", "detokenize", "admin", "batch"),
        *("embeddings", "score", "rerank", "apply_template"),
        *("base_url", "close", "wait_until_ready", "with_options"),
    }


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_waits_with_what_is_slow_to_load():
    loaded = loaded_after("from sgl_jax.client import SglJax, AsyncSglJax, APIError")
    assert not loaded & {"httpx", "pydantic", "pydantic_core", "asyncio"}


def test_a_client_needs_nothing_of_the_other_packages():
    loaded = loaded_after("import sgl_jax.client; sgl_jax.client.SglJax('http://h')")
    assert {"httpx", "pydantic"} <= loaded
    assert not loaded & {"jax", "jaxlib", "flax", "numpy", "msgspec", "fastapi", "zmq"}
