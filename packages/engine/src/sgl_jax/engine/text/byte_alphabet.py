"""The byte-level alphabet: how GPT-2's family spells 256 byte values in printable characters."""

from __future__ import annotations

from collections.abc import Callable


def _alphabet() -> dict[str, int]:
    # Printable Latin-1 characters stand for themselves; the other bytes take, in order, the
    # characters from U+0100 on (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", code).
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    spelled = {chr(byte): byte for byte in printable}
    spelled.update((chr(256 + index), byte) for index, byte in enumerate(others))
    return spelled


BYTE_OF_CHARACTER = _alphabet()
"""Character of the byte-level alphabet -> byte value; 256 entries."""


def spelled_bytes(token: str) -> bytes:
    """The bytes of a token in the vocabulary's spelling.

    A token with a character outside the alphabet (an added token with a space in it) is plain text.
    """
    try:
        return bytes([BYTE_OF_CHARACTER[character] for character in token])
    except KeyError:
        return token.encode()


class TokenBytes(dict[int, bytes]):
    """Token id -> bytes, filled as ids are first seen, so that a start-up pays nothing.

    Ids in `skipped`, and ids that the vocabulary does not have, are empty.
    """

    def __init__(self, spelling: Callable[[int], str | None], *, skipped: frozenset[int]) -> None:
        super().__init__()
        self._spelling = spelling
        self._skipped = skipped

    def __missing__(self, token_id: int) -> bytes:
        token = None if token_id in self._skipped else self._spelling(token_id)
        if token is None:
            return b""  # not stored: hostile ids must not grow the table
        value = self[token_id] = spelled_bytes(token)
        return value
