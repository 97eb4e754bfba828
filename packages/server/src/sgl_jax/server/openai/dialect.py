"""How the APIs that are translated into chat name what chat names otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sgl_jax.engine.errors import SglJaxError
from sgl_jax.server.errors import ApiError, from_exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One API's ways.

    Attributes:
        id_prefix: what the ids of its answers begin with.
        names: chat's field paths -> the caller's, for errors; a path stands for what is below it, too.
        lowers_max_tokens: take a `max_tokens` beyond the context window, and generate what fits; else refuse it.
    """

    id_prefix: str
    names: Mapping[str, str] = field(default_factory=dict)
    lowers_max_tokens: bool = False

    def renames(self, renames: Mapping[str, str]) -> dict[str, str]:
        """The engine's field names -> the caller's, given the engine's -> chat's."""
        return {name: self.names.get(chats, chats) for name, chats in renames.items()}

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """Says errors that come from within in the caller's words.

        Raises:
            ApiError: instead of any error that chat raises on purpose.
        """
        try:
            yield
        except (ApiError, SglJaxError) as error:
            raise self._renamed(from_exception(error)) from None

    def _renamed(self, error: ApiError) -> ApiError:
        detail = error.detail
        for chats in sorted(self.names, key=len, reverse=True):  # the longest path that fits
            if detail.param is not None and re.match(rf"{re.escape(chats)}(?![^.\[])", detail.param):
                param = self.names[chats] + detail.param[len(chats) :]
                message = re.sub(rf"(?<![\w.]){re.escape(chats)}(?!\w)", self.names[chats], detail.message)
                return ApiError(
                    error.status, message, type=detail.type, param=param, code=detail.code, headers=error.headers
                )
        return error


CHAT = Dialect(id_prefix="chatcmpl-")
"""Chat itself."""
