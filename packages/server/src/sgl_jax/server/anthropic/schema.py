"""What `POST /v1/messages` and `POST /v1/messages/count_tokens` take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sgl_jax.server.bounds import NonNegative, Probability, Temperature, TopK
from sgl_jax.server.openai.schema.tools import Name


class InputBlock(msgspec.Struct, kw_only=True):
    """A block of content. Fields that belong to other types are ignored."""

    type: Annotated[
        str, Meta(description="`text`, `tool_use`, `tool_result`, `thinking` or `redacted_thinking` (ignored).")
    ]
    text: str | None = None
    thinking: Annotated[str | None, Meta(description="Reasoning, as an answer had it.")] = None
    id: Annotated[str | None, Meta(description="Of a call.")] = None
    name: Annotated[str | None, Meta(description="The tool that was called.")] = None
    input: Annotated[dict[str, Any] | None, Meta(description="What it was called with.")] = None
    tool_use_id: Annotated[str | None, Meta(description="The call that a result answers.")] = None
    content: Annotated[str | list[InputBlock] | None, Meta(description="What the tool said.")] = None


class InputMessage(msgspec.Struct, kw_only=True):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[InputBlock]


class AnthropicTool(msgspec.Struct, kw_only=True):
    """A tool of the client's, which are the only kind."""

    name: Name
    type: Annotated[str | None, Meta(description="`custom`, or left out.")] = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: Annotated[bool | None, Meta(description="Hold the input to the schema, whoever asks for the call.")] = None


class AnthropicToolChoice(msgspec.Struct, kw_only=True):
    """How tools are to be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: Annotated[str | None, Meta(description="The one to call (`type: tool`).")] = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(msgspec.Struct, kw_only=True):
    """Whether the model reasons before it answers, where its chat template leaves the choice."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int | None, Meta(description="Tolerated; only `max_tokens` bounds reasoning.")] = None
    display: Annotated[str | None, Meta(description="`omitted` leaves reasoning out of the answer.")] = None


class OutputFormat(msgspec.Struct, kw_only=True):
    """The form of the answer."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, kw_only=True):
    """How the answer is to be."""

    effort: Annotated[str | None, Meta(description="Handed to the chat template as `reasoning_effort`.")] = None
    format: OutputFormat | None = None


class MessagesFields(msgspec.Struct, kw_only=True):
    """What both routes take: all that becomes the prompt."""

    model: Annotated[str | None, Meta(description="The served model's name; none or `default` also mean it.")] = None
    messages: Annotated[list[InputMessage], Meta(min_length=1, description="The conversation so far.")]
    system: Annotated[str | list[InputBlock] | None, Meta(description="What comes before the conversation.")] = None
    tools: Annotated[list[AnthropicTool] | None, Meta(description="What the model may call.")] = None
    tool_choice: AnthropicToolChoice | None = None
    thinking: Annotated[ThinkingConfig | None, Meta(description="Off unless asked for.")] = None
    output_config: OutputConfig | None = None
    cache_control: Annotated[dict[str, Any] | None, Meta(description="Tolerated: prefixes are cached always.")] = None


class CountTokensRequest(MessagesFields, kw_only=True):
    """Body of `POST /v1/messages/count_tokens`."""


class MessagesRequest(MessagesFields, kw_only=True):
    """Body of `POST /v1/messages`."""

    max_tokens: Annotated[
        NonNegative, Meta(description="Most tokens to generate; more than fits is taken as what fits.")
    ]
    stop_sequences: Annotated[
        Annotated[list[str], Meta(max_length=16)] | None,
        Meta(description="Strings that end the text; they are not in it."),
    ] = None
    stream: Annotated[bool | None, Meta(description="Send server-sent events as tokens come.")] = None
    temperature: Annotated[Temperature | None, Meta(description="0 takes the likeliest token always.")] = None
    top_p: Annotated[Probability | None, Meta(description="Nucleus sampling mass, in (0, 1].")] = None
    top_k: Annotated[TopK | None, Meta(description="Keep the k likeliest tokens; 0 or -1 keeps all.")] = None
    metadata: Annotated[dict[str, Any] | None, Meta(description="Tolerated, without effect.")] = None
    service_tier: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    container: Annotated[str | dict[str, Any] | None, Meta(description="Not supported.")] = None
    mcp_servers: Annotated[list[dict[str, Any]] | None, Meta(description="Not supported, except empty.")] = None
