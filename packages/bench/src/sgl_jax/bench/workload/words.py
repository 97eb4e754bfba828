"""Made-up text of a set length.

Without the model's tokenizer nobody can cut a prompt to the token. These words come close: each is a single token, with
the space before it, in the vocabularies that today's models use. What the server really counted is in its `usage`, and
in every report; a chat template adds its own tokens to each request.
"""

from __future__ import annotations

import random

_TEXT = (
    "the of and to in is you that it was for on are as with his they at be this have from or one had by word but not "
    "what all were we when your can said there use an each which she do how their if will up other about out many then "
    "them these so some her would make like him into time has look two more write go see number no way could people my "
    "than first water been call who its now find long down day did get come made may part over new sound take only "
    "little work know place year live me back give most very after thing our just name good sentence man think say "
    "great where help through much before line right too mean old any same tell boy follow came want show also around "
    "form three small set put end does another well large must big even such because turn here why ask went men read "
    "need land different home us move try kind hand picture again change off play spell air away animal house point "
    "page letter mother answer found study still learn should world"
)
_WORDS = tuple(_TEXT.split())


def made_up_text(rng: random.Random, tokens: int) -> str:
    """Return about `tokens` tokens of words in an order drawn from `rng`."""
    return " ".join(rng.choices(_WORDS, k=tokens))
