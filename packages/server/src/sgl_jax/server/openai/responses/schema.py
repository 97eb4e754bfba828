"""What `POST /v1/responses` takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sgl_jax.server.bounds import NonNegative, TopLogprobs
from sgl_jax.server.openai.schema.common import SamplingFields
from sgl_jax.server.openai.schema.tools import Name


class InputPart(msgspec.Struct, kw_only=True):
    """One part of an item's content. Only text parts are supported."""

    type: str
    text: str | None = None
    refusal: str | None = None


class InputItem(msgspec.Struct, kw_only=True):
    """One item of the conversation. Fields that belong to other types are ignored."""

    type: Annotated[
        str, Meta(description="`message`, `function_call`, `function_call_output`, `reasoning`, `item_reference`.")
    ] = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Annotated[str | list[InputPart] | None, Meta(description="Of a message, or of reasoning.")] = None
    id: Annotated[str | None, Meta(description="The item that an `item_reference` means.")] = None
    call_id: Annotated[str | None, Meta(description="The call, or the call that an output answers.")] = None
    name: Annotated[str | None, Meta(description="The function that was called.")] = None
    arguments: Annotated[str | None, Meta(description="What it was called with, as JSON text.")] = None
    output: Annotated[str | list[InputPart] | None, Meta(description="What the function said.")] = None
    summary: Annotated[list[InputPart] | None, Meta(description="Of reasoning, where it has no `content`.")] = None


class FunctionTool(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A function that the model may call. Functions are the only kind of tool."""

    type: str
    name: Name | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Annotated[bool | None, Meta(description="Hold the arguments to the schema, whoever asks for it.")] = None


class ToolReference(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the tools, by name."""

    type: str = "function"
    name: str | None = None


class ToolChoiceObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One function to call (`type: function`), or those that may be called (`type: allowed_tools`)."""

    type: Literal["function", "allowed_tools"]
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ToolReference] | None = None


class TextFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form that the text must have."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


PLAIN_TEXT = TextFormat(type="text")


class TextConfig(msgspec.Struct, kw_only=True):
    """How the text is to be."""

    format: TextFormat = PLAIN_TEXT
    verbosity: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None


class ReasoningConfig(msgspec.Struct, kw_only=True):
    """How the model is to reason."""

    effort: Annotated[
        str | None, Meta(description="Handed to the chat template; `none` asks the model not to reason.")
    ] = None
    summary: Annotated[str | None, Meta(description="Tolerated; reasoning is shown as it is.")] = None


class ResponsesRequest(SamplingFields, kw_only=True):
    """Body of `POST /v1/responses`."""

    input: Annotated[str | list[InputItem], Meta(description="What is said, as a text or as items.")]
    instructions: Annotated[
        str | None, Meta(description="A system message before the conversation; of this answer only.")
    ] = None
    previous_response_id: Annotated[str | None, Meta(description="Go on after this stored answer.")] = None
    store: Annotated[bool | None, Meta(description="Keep the answer for a while (default).")] = None
    max_output_tokens: Annotated[NonNegative | None, Meta(description="Most tokens to generate.")] = None
    tools: Annotated[list[FunctionTool] | None, Meta(description="Functions that the model may call.")] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | ToolChoiceObject | None,
        Meta(description="`auto` (default), `none`, `required`, a function by name, or `allowed_tools`."),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="Whether an answer may hold several calls.")] = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    include: Annotated[
        list[str] | None, Meta(description="`message.output_text.logprobs`; others are about tools not here.")
    ] = None
    top_logprobs: Annotated[
        TopLogprobs | None, Meta(description="Log-probabilities of so many likeliest tokens, too.")
    ] = None
    metadata: Annotated[dict[str, str] | None, Meta(description="Comes back as it is.")] = None
    background: Annotated[bool | None, Meta(description="Not supported.")] = None
    conversation: Annotated[str | dict[str, Any] | None, Meta(description="Not supported.")] = None
    prompt: Annotated[dict[str, Any] | None, Meta(description="Not supported.")] = None
    truncation: Annotated[str | None, Meta(description="`disabled`; nothing is cut from a conversation.")] = None
    max_tool_calls: Annotated[int | None, Meta(description="Tolerated: it is about built-in tools.")] = None
    service_tier: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    safety_identifier: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    prompt_cache_key: Annotated[str | None, Meta(description="Tolerated: prefixes are cached by themselves.")] = None
    stream_options: Annotated[dict[str, Any] | None, Meta(description="Tolerated, without effect.")] = None
    chat_template_kwargs: Annotated[dict[str, Any] | None, Meta(description="Variables for the chat template.")] = None
