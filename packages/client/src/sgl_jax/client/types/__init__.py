"""Types of what is sent and what comes back. Written apart from the server's, which may be another one."""

from __future__ import annotations

from sgl_jax.client.types._base import PromptTokensDetails, Usage
from sgl_jax.client.types.chat import (
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    FunctionCall,
    ToolCall,
)
from sgl_jax.client.types.completion import Completion, CompletionChoice, CompletionLogprobs
from sgl_jax.client.types.generate import FinishReason, GenerateResponse, MetaInfo
from sgl_jax.client.types.params import (
    ChatParams,
    CompletionParams,
    GenerateParams,
    MessageParam,
    Messages,
    RequestOptions,
    ResponseFormat,
    SamplingParams,
    StreamOptions,
)
from sgl_jax.client.types.server import Health, ModelCard, ModelList

__all__ = [
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
