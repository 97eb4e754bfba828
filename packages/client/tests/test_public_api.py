"""The public surface: a name more or less is a decision, not an accident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sgl_jax.client
import sgl_jax.client.types


def test_names_of_the_package():
    assert sgl_jax.client.__all__ == [
        "APIConnectionError",
        "APIError",
        "APITimeoutError",
        "AsyncSglJax",
        "AuthenticationError",
        "BadRequestError",
        "InternalServerError",
        "InvalidResponseError",
        "NotFoundError",
        "NotReadyError",
        "PermissionDeniedError",
        "RateLimitError",
        "RequestTooLargeError",
        "ServiceUnavailableError",
        "SglJax",
        "SglJaxClientError",
        "StreamError",
    ]


def test_names_of_the_types():
    assert sgl_jax.client.types.__all__ == [
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
        "FinishReason",
        "FunctionCall",
        "GenerateParams",
        "GenerateResponse",
        "Health",
        "MessageParam",
        "Messages",
        "MetaInfo",
        "ModelCard",
        "ModelList",
        "PromptTokensDetails",
        "RequestOptions",
        "ResponseFormat",
        "SamplingParams",
        "StreamOptions",
        "ToolCall",
        "Usage",
    ]
    assert all(hasattr(sgl_jax.client.types, name) for name in sgl_jax.client.types.__all__)


@pytest.mark.parametrize("client", [sgl_jax.client.SglJax, sgl_jax.client.AsyncSglJax])
def test_names_of_a_client(client):
    names = {name for name in dir(client("http://h")) if not name.startswith("_")}
    assert names == {
        *("chat", "completions", "generate", "models", "health"),
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


@pytest.mark.slow
def test_a_users_strictly_typed_program_passes_mypy(tmp_path):
    program = Path(__file__).with_name("typed_program.py")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
