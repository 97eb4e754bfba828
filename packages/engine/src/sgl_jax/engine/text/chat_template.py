"""Messages to prompt text, by the model's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Template, TemplateSyntaxError

from sgl_jax.engine.errors import ChatTemplateError, ModelLoadError
from sgl_jax.engine.text.template_sandbox import TemplateEnvironment
from sgl_jax.engine.text.tokenizer import Tokenizer

_MARK = "<sgl-jax:message-continue> "
"""Put at the end of the final message to find it in the prompt. The space tells whether the template strips content.

As long as the mark of transformers: a template can see the length of a message.
"""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names under which templates and callers speak of what an assistant thought; the first is the usual one."""


class ChatTemplate:
    """A compiled chat template; rendering needs no lock and may run in several threads.

    Args:
        source: Jinja source (else `ModelLoadError`); None makes a template that refuses every
            conversation, saying why.
        tool_source: another one, for conversations with tools; None where `source` is for all.
        bos_token, eos_token, special_tokens: variables of the template; those that are None stay undefined.

    Attributes:
        source: as given.
    """

    def __init__(
        self,
        source: str | None,
        bos_token: str | None = None,
        eos_token: str | None = None,
        *,
        tool_source: str | None = None,
        **special_tokens: str,
    ) -> None:
        named = {"bos_token": bos_token, "eos_token": eos_token, **special_tokens}
        self._variables = {name: text for name, text in named.items() if text is not None}
        self.source = source
        self._environment = TemplateEnvironment()
        self._template = None if source is None else self._compiled(source)
        self._tool_template = None if tool_source is None else self._compiled(tool_source)

    @classmethod
    def of(cls, tokenizer: Tokenizer, source: str | None = None) -> ChatTemplate:
        """The tokenizer's template, or `source` in its place, with the tokenizer's special tokens."""
        return cls(
            tokenizer.chat_template if source is None else source,
            bos_token=tokenizer.bos_token,
            eos_token=tokenizer.eos_token,
            tool_source=tokenizer.tool_chat_template if source is None else None,
            **tokenizer.special_tokens,
        )

    @property
    def present(self) -> bool:
        """Whether there is a template at all."""
        return self._template is not None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        /,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> str:
        """The prompt's text, special tokens spelled out: encode it with `add_special_tokens=False`.

        Args:
            messages: as in OpenAI's API, plain dicts.
            add_generation_prompt: end with the beginning of the assistant's turn.
            continue_final_message: leave the final message open, so that the model goes on with
                it; no generation prompt is added then.
            tools: JSON descriptions of the callable functions.
            kwargs: further variables of the template (`enable_thinking=False`); they go before
                the special tokens' names.

        Raises:
            ChatTemplateError: the template refuses the messages, fails, runs away, or is missing.
        """
        template = self._tool_template if tools is not None and self._tool_template else self._template
        if template is None:
            raise ChatTemplateError(
                "This model has no chat template. Start the server with --chat-template FILE, "
                "or send a plain prompt to /v1/completions.",
                param="messages",
            )
        if "messages" in kwargs:
            raise ChatTemplateError("'messages' is not a free template variable.", param="chat_template_kwargs")
        conversation = [_as_templates_expect(message) for message in messages]
        if continue_final_message:
            conversation = _mark_final_message(conversation)
        variables = {
            **self._variables,
            **kwargs,
            "messages": conversation,
            "tools": tools,
            "documents": kwargs.get("documents"),
            "add_generation_prompt": add_generation_prompt and not continue_final_message,
        }
        try:
            text = self._environment.render_template(template, variables)
        except Exception as error:  # a template can raise anything
            raise ChatTemplateError(
                f"The model's chat template does not take these messages: {error}", param="messages"
            ) from error
        return _cut_at_mark(text) if continue_final_message else text

    def _compiled(self, source: str) -> Template:
        try:
            return self._environment.compile_template(source)
        except TemplateSyntaxError as error:
            raise ModelLoadError(
                f"The chat template is not valid Jinja (line {error.lineno}: {error.message}). "
                "Pass a corrected one with --chat-template."
            ) from error
        except Exception as error:  # too large, nested too deeply for Python's compiler, half a character, …
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ModelLoadError(
                f"The chat template cannot be used ({reason}). Pass another with --chat-template."
            ) from error


def _as_templates_expect(message: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields that are null, which templates take for text; with reasoning under the names they look for."""
    present = {name: value for name, value in message.items() if value is not None}
    thought = next((present[name] for name in _REASONING if name in present), None)
    return present if thought is None else {"thinking": thought, **present, "reasoning_content": thought}


def _mark_final_message(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    content = messages[-1].get("content") if messages else None
    marked: Any
    if isinstance(content, str):
        marked = content + _MARK
    elif isinstance(content, list) and content and isinstance(content[-1], Mapping) and "text" in content[-1]:
        marked = [*content[:-1], {**content[-1], "text": f"{content[-1]['text']}{_MARK}"}]
    else:
        raise ChatTemplateError("continue_final_message needs a final message that ends in text.", param="messages")
    return [*messages[:-1], {**messages[-1], "content": marked}]


def _cut_at_mark(text: str) -> str:
    start = text.rfind(_MARK.rstrip())
    if start < 0:
        raise ChatTemplateError(
            "continue_final_message does not work here: the chat template leaves the final message out.",
            param="continue_final_message",
        )
    kept = text[:start]
    # A template that strips content would have stripped the message's own trailing space, too.
    return kept if text.startswith(_MARK, start) else kept.rstrip()
