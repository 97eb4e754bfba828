"""A chat answer together with what it says, as a Python object."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from pydantic import PrivateAttr

from sgl_jax.client.types.chat import ChatCompletion

ParsedT = TypeVar("ParsedT")


class ParsedChatCompletion(ChatCompletion, Generic[ParsedT]):
    """A whole answer whose text fits a type.

    What was made of the text is no field: dumping the answer gives what the server sent.
    """

    _parsed: list[Any] = PrivateAttr(default_factory=list)

    @property
    def parsed(self) -> ParsedT:
        """The first choice's text, as the type that was asked for."""
        return cast("ParsedT", self._parsed[0])

    @property
    def all_parsed(self) -> list[ParsedT]:
        """Each of the `n` choices' texts."""
        return list(self._parsed)
