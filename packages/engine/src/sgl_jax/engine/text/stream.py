"""One request's way from token deltas to text deltas: detokenizing and stop strings, joined."""

from __future__ import annotations

import msgspec

from sgl_jax.engine.messages import Finish, TokenDelta
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.detokenizer import IncrementalDetokenizer
from sgl_jax.engine.text.stop import StopMatcher
from sgl_jax.engine.text.tokenizer import Tokenizer


class TextDelta(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one token delta adds to the text.

    Attributes:
        text: new text, possibly empty.
        finish: set once, on the last delta.
    """

    text: str
    finish: Finish | None = None


_NOTHING = TextDelta("")


class TextStream:
    """Turns the `TokenDelta`s of one sequence into text.

    A stop string ends the text before the engine knows. Then `push` returns a delta with `finish`
    though the token delta had none, and the caller must abort the request in the engine; whatever
    the engine still sends for it is ignored here.

    Args:
        tokenizer: may be shared by all streams.
        sampling: of which `stop`, `no_stop_trim` and `skip_special_tokens` are used here.

    Attributes:
        finished: whether a delta with `finish` was returned.
    """

    def __init__(self, tokenizer: Tokenizer, sampling: SamplingParams) -> None:
        self._detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=sampling.skip_special_tokens)
        self._matcher = StopMatcher(sampling.stop, trim=not sampling.no_stop_trim) if sampling.stop else None
        self._keeps_stop_token = sampling.no_stop_trim
        self.finished = False

    def push(self, delta: TokenDelta) -> TextDelta:
        """The text that the delta completes; on its finish, all that was held back too."""
        if self.finished:
            return _NOTHING
        if delta.finish is not None:
            return self._end(delta.token_ids, delta.finish)
        text = self._detokenizer.push(delta.token_ids)
        if self._matcher is None:
            return TextDelta(text) if text else _NOTHING
        text = self._matcher.push(text)
        if self._matcher.matched is not None:
            return self._stopped(text, self._matcher.matched)
        return TextDelta(text) if text else _NOTHING

    def _end(self, token_ids: list[int], finish: Finish) -> TextDelta:
        if finish.reason == "stop" and token_ids and token_ids[-1] == finish.matched and not self._keeps_stop_token:
            token_ids = token_ids[:-1]
        text = self._detokenizer.push(token_ids) + self._detokenizer.flush()
        if self._matcher is not None:
            text = self._matcher.push(text)
            if self._matcher.matched is not None and finish.reason in ("stop", "length"):
                return self._stopped(text, self._matcher.matched)
            text += self._matcher.flush()
        self.finished = True
        return TextDelta(text, finish)

    def _stopped(self, text: str, matched: str) -> TextDelta:
        self.finished = True
        return TextDelta(text, Finish(reason="stop", matched=matched))
