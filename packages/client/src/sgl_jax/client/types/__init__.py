"""Types of what is sent and what comes back. Written apart from the server's, which may be another one."""

from __future__ import annotations

from sgl_jax.client._batch import BatchResult
from sgl_jax.client.types._base import PromptLogprob, PromptTokensDetails, Usage
from sgl_jax.client.types.admin import Aborted, Done, EngineLoad, EngineStats, LoraAdapters, ModelInfo, ServerInfo
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
from sgl_jax.client.types.metrics import Metrics, MetricSample
from sgl_jax.client.types.params import (
    ChatParams,
    CompletionParams,
    GenerateParams,
    MessageParam,
    Messages,
    ParseParams,
    RequestOptions,
    ResponseFormat,
    RunToolsParams,
    SamplingParams,
    StreamOptions,
    TemplateParams,
    TokenizeParams,
)
from sgl_jax.client.types.parsed import ParsedChatCompletion
from sgl_jax.client.types.search import (
    EmbeddingItem,
    EmbeddingParams,
    Embeddings,
    RankedDocument,
    RankedText,
    Ranking,
    RerankParams,
    ScoreParams,
    Scores,
)
from sgl_jax.client.types.server import Health, ModelCard, ModelList
from sgl_jax.client.types.tokens import Text, Tokens
from sgl_jax.client.types.tool_run import ToolRun

__all__ = [
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
