"""Number types with their bounds, for request schemas."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_N = 128
"""Most answers to one prompt."""

NonNegative = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Siblings = Annotated[int, Meta(ge=1, le=MAX_N)]
Temperature = Annotated[float, Meta(ge=0)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
TopLogprobs = Annotated[int, Meta(ge=0, le=20)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, Meta(ge=1e-6, le=1e6)]
LogitBias = dict[str, float]
"""Token id (a JSON key is a string) -> what is added to the token's logit; the engine checks both."""
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
CacheSalt = Annotated[str, Meta(max_length=256)]
StopStrings = str | Annotated[list[str], Meta(max_length=16)]
