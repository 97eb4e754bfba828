"""`client.tokenize`, `client.detokenize` and `client.apply_template`: what the served model makes of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

from sgl_jax.client._conversation import conversation
from sgl_jax.client._endpoint import Endpoint, Run, json_as
from sgl_jax.client.types.params import MessageParam, Messages, RequestOptions, TemplateParams, TokenizeParams
from sgl_jax.client.types.tokens import Text, Tokens

AnswerT = TypeVar("AnswerT")

TOKENIZE = Endpoint("POST", "/tokenize", parse=json_as(Tokens), repeatable=True)
DETOKENIZE = Endpoint("POST", "/detokenize", parse=json_as(Text), repeatable=True)
APPLY_TEMPLATE = Endpoint("POST", "/apply_template", parse=json_as(Text), repeatable=True)


class Tokenize(Generic[AnswerT]):
    """`client.tokenize("Hello!")`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, prompt: str | Sequence[MessageParam], **params: Unpack[TokenizeParams]) -> AnswerT:
        """The tokens of a text; of a conversation, those of the prompt that the chat template makes of it."""
        body: Mapping[str, Any] = {"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
        tokens: AnswerT = self._run(TOKENIZE.call(body, params))
        return tokens


class Detokenize(Generic[AnswerT]):
    """`client.detokenize([1, 2, 3])`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, tokens: Sequence[int], **options: Unpack[RequestOptions]) -> AnswerT:
        """The text of token ids, special tokens included."""
        text: AnswerT = self._run(DETOKENIZE.call({"tokens": list(tokens)}, options))
        return text


class ApplyTemplate(Generic[AnswerT]):
    """`client.apply_template([{"role": "user", "content": "Hello!"}])`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, messages: Messages, **params: Unpack[TemplateParams]) -> AnswerT:
        """The text of the prompt that the chat template makes of a conversation; a string is one user message."""
        text: AnswerT = self._run(APPLY_TEMPLATE.call({"messages": conversation(messages)}, params))
        return text
