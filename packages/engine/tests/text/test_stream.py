from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.messages import Finish, TokenDelta
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.stream import TextDelta, TextStream
from sgl_jax.engine.text.tokenizer import Tokenizer

STOPPED = Finish(reason="length")


def run(tokenizer: Tokenizer, ids: Sequence[int], finish: Finish = STOPPED, **sampling: object) -> list[TextDelta]:
    """Pushes ids one by one, the last with the finish, until the stream ends."""
    stream = TextStream(tokenizer, SamplingParams(**sampling))  # type: ignore[arg-type]
    found: list[TextDelta] = []
    for index, token in enumerate(ids):
        if not stream.finished:
            found.append(stream.push(TokenDelta([token], finish if index == len(ids) - 1 else None)))
    assert stream.finished
    assert [delta.finish is not None for delta in found] == [False] * (len(found) - 1) + [True]
    return found


def joined(deltas: Sequence[TextDelta]) -> str:
    return "".join(delta.text for delta in deltas)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@given(text=st.text(min_size=1))
def test_without_stops_the_text_is_the_decoded_one(tiny: Tokenizer, text: str) -> None:
    deltas = run(tiny, ids_of(tiny, text))
    assert joined(deltas) == text
    assert deltas[-1].finish == STOPPED


def test_a_stop_string_ends_the_stream_before_the_engine_does(tiny: Tokenizer) -> None:
    deltas = run(tiny, ids_of(tiny, "hello there END and more"), stop=("END", "never"))
    assert joined(deltas) == "hello there "
    assert deltas[-1].finish == Finish(reason="stop", matched="END")


def test_later_deltas_are_ignored(tiny: Tokenizer) -> None:
    stream = TextStream(tiny, SamplingParams(stop=("h",)))
    assert stream.push(TokenDelta(ids_of(tiny, "oh no"))).finish == Finish(reason="stop", matched="h")
    assert stream.push(TokenDelta(ids_of(tiny, "more"))) == TextDelta("")
    assert stream.push(TokenDelta([], Finish(reason="abort"))) == TextDelta("")


def test_the_stop_string_may_be_kept(tiny: Tokenizer) -> None:
    assert joined(run(tiny, ids_of(tiny, "a END b"), stop=("END",), no_stop_trim=True)) == "a END"


def test_held_text_comes_with_the_finish(tiny: Tokenizer) -> None:
    deltas = run(tiny, ids_of(tiny, "hello EN"), stop=("END",))
    assert joined(deltas) == "hello EN"
    assert deltas[-1].finish == STOPPED


def test_a_stop_string_completed_by_the_last_token_counts(tiny: Tokenizer) -> None:
    deltas = run(tiny, ids_of(tiny, "hello END"), stop=("END",))
    assert joined(deltas) == "hello "
    assert deltas[-1].finish == Finish(reason="stop", matched="END")


def test_an_unfinished_character_at_the_end(tiny: Tokenizer) -> None:
    assert joined(run(tiny, ids_of(tiny, "a🙂")[:-1])) == "a\ufffd"


class TestStopTokens:
    @pytest.fixture
    def ids(self, tiny: Tokenizer) -> list[int]:
        return ids_of(tiny, "hello!")

    def test_is_not_in_the_text(self, tiny: Tokenizer, ids: list[int]) -> None:
        finish = Finish(reason="stop", matched=ids[-1])
        deltas = run(tiny, ids, finish)
        assert joined(deltas) == "hello"
        assert deltas[-1].finish == finish

    def test_unless_wanted(self, tiny: Tokenizer, ids: list[int]) -> None:
        assert joined(run(tiny, ids, Finish(reason="stop", matched=ids[-1]), no_stop_trim=True)) == "hello!"

    def test_a_special_one_is_shown_only_when_both_are_wanted(self, tiny: Tokenizer) -> None:
        ids = [*ids_of(tiny, "hello"), tiny.eos_token_id or 0]
        finish = Finish(reason="stop", matched=ids[-1])
        assert joined(run(tiny, ids, finish, no_stop_trim=True)) == "hello"
        assert joined(run(tiny, ids, finish, skip_special_tokens=False)) == "hello"
        assert joined(run(tiny, ids, finish, no_stop_trim=True, skip_special_tokens=False)) == "hello<|end|>"

    def test_the_same_token_at_the_length_limit_stays(self, tiny: Tokenizer, ids: list[int]) -> None:
        assert joined(run(tiny, ids, Finish(reason="length"))) == "hello!"


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_abnormal_end_is_passed_on_as_it_is(tiny: Tokenizer, reason: str) -> None:
    finish = Finish(reason=reason, message="why")  # type: ignore[arg-type]
    stream = TextStream(tiny, SamplingParams(stop=("END",)))
    stream.push(TokenDelta(ids_of(tiny, "so far E")))
    assert stream.push(TokenDelta([], finish)) == TextDelta("E", finish)
    assert stream.finished


def test_the_text_side_needs_neither_jax_nor_numpy() -> None:
    code = (
        "import sys, sgl_jax.engine.text.stream, sgl_jax.engine.text.chat_template;"
        "print(sorted({'jax', 'flax', 'numpy', 'gguf', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
