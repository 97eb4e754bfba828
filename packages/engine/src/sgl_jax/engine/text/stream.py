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
        num_unused: how many of the token delta's last tokens came behind a stop string, and count for nothing.
    """

    text: str
    finish: Finish | None = None
    num_unused: int = 0


_NOTHING = TextDelta("")


class TextStream:
    """Turns the `TokenDelta`s of one sequence into text.

    A stop string ends the text before the engine knows. Then `push` returns a delta with `finish`
    though the token delta had none, and the caller must abort the request in the engine; whatever
    the engine still sends for it is ignored here.

    Args:
        tokenizer: may be shared by all streams.
        sampling: of which `stop`, `no_stop_trim`, `skip_special_tokens` and `min_new_tokens` are used here.

    Attributes:
        finished: whether a delta with `finish` was returned.
    """

    def __init__(self, tokenizer: Tokenizer, sampling: SamplingParams) -> None:
        self._detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=sampling.skip_special_tokens)
        self._matcher = StopMatcher(sampling.stop, trim=not sampling.no_stop_trim) if sampling.stop else None
        self._unstoppable = sampling.min_new_tokens  # tokens to come in whose text no stop string counts
        self._keeps_stop_token = sampling.no_stop_trim
        self.finished = False

    def push(self, delta: TokenDelta) -> TextDelta:
        """The text that the delta completes; on its finish, all that was held back too."""
        if self.finished:
            return _NOTHING
        if delta.finish is not None:
            return self._end(delta.token_ids, delta.finish)
        if self._matcher is None:
            text = self._detokenizer.push(delta.token_ids)
            return TextDelta(text) if text else _NOTHING
        text, num_used = self._match(self._matcher, delta.token_ids)
        if self._matcher.matched is not None:
            return self._stopped(text, self._matcher.matched, len(delta.token_ids) - num_used)
        return TextDelta(text) if text else _NOTHING

    def _end(self, token_ids: list[int], finish: Finish) -> TextDelta:
        num_tokens = len(token_ids)
        if finish.reason == "stop" and token_ids and token_ids[-1] == finish.matched and not self._keeps_stop_token:
            token_ids = token_ids[:-1]
        if self._matcher is None:
            text = self._detokenizer.push(token_ids) + self._detokenizer.flush()
        else:
            text, num_used = self._match(self._matcher, token_ids, last=True)
            if self._matcher.matched is not None and finish.reason in ("stop", "length"):
                return self._stopped(text, self._matcher.matched, num_tokens - num_used)
            text += self._matcher.flush()
        self.finished = True
        return TextDelta(text, finish)

    def _match(self, matcher: StopMatcher, token_ids: list[int], *, last: bool = False) -> tuple[str, int]:
        """Text of the tokens up to a stop string, and how many of them it takes.

        They go in one by one: what they are counted as must not depend on how many came at once. Those that must come
        in any case are not searched.
        """
        passed: list[str] = []
        for count, token in enumerate(token_ids, 1):
            text = self._detokenizer.push([token])
            if last and count == len(token_ids):
                text += self._detokenizer.flush()
            if self._unstoppable:
                self._unstoppable -= 1
                passed.append(matcher.pass_over(text))
                continue
            passed.append(matcher.push(text))
            if matcher.matched is not None:
                return "".join(passed), count
        if last and not token_ids:
            rest = self._detokenizer.flush()
            passed.append(matcher.pass_over(rest) if self._unstoppable else matcher.push(rest))
        return "".join(passed), len(token_ids)

    def _stopped(self, text: str, matched: str, num_unused: int) -> TextDelta:
        self.finished = True
        return TextDelta(text, Finish(reason="stop", matched=matched), num_unused)
