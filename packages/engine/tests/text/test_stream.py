from __future__ import annotations

import itertools
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


def test_stop_strings_do_not_count_before_the_minimum_length(tiny: Tokenizer) -> None:
    ids = ids_of(tiny, "a END b END c")
    first = len(ids_of(tiny, "a END"))
    for at_least in range(first):
        assert joined(run(tiny, ids, stop=("END",), min_new_tokens=at_least)) == "a "
    deltas = run(tiny, ids, stop=("END",), min_new_tokens=first)
    assert joined(deltas) == "a END b "
    assert deltas[-1].finish == Finish(reason="stop", matched="END")


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_the_minimum_length_counts_tokens_however_they_come(tiny: Tokenizer, pieces: int) -> None:
    ids = ids_of(tiny, "END END END")
    stream = TextStream(tiny, SamplingParams(stop=("END",), min_new_tokens=len(ids)))
    deltas = [stream.push(TokenDelta(ids[begin : begin + pieces])) for begin in range(0, len(ids), pieces)]
    deltas.append(stream.push(TokenDelta([], STOPPED)))
    assert joined(deltas) == "END END END"
    assert deltas[-1].finish == STOPPED


def test_an_answer_of_exactly_the_minimum_length_is_not_cut(tiny: Tokenizer) -> None:
    ids = ids_of(tiny, "hello END")
    deltas = run(tiny, ids, stop=("END",), min_new_tokens=len(ids))
    assert joined(deltas) == "hello END"
    assert deltas[-1].finish == STOPPED


@given(data=st.data(), text=st.text("aEND\u00e9 ", max_size=24), at_least=st.integers(0, 6))
def test_tokens_may_come_in_any_numbers_at_once(tiny: Tokenizer, data: st.DataObject, text: str, at_least: int) -> None:
    ids = ids_of(tiny, text + "x")
    cuts = sorted({0, len(ids), *data.draw(st.lists(st.integers(0, len(ids)), max_size=4))})
    one_by_one = run(tiny, ids, stop=("END", "Na"), min_new_tokens=at_least)
    stream, found, used = TextStream(tiny, SamplingParams(stop=("END", "Na"), min_new_tokens=at_least)), [], 0
    for begin, end in itertools.pairwise(cuts):
        if not stream.finished:
            found.append(stream.push(TokenDelta(ids[begin:end], STOPPED if end == len(ids) else None)))
            used += end - begin - found[-1].num_unused
    assert joined(found) == joined(one_by_one)
    assert found[-1].finish == one_by_one[-1].finish
    assert used == len(one_by_one)


def test_tokens_behind_a_stop_string_are_unused(tiny: Tokenizer) -> None:
    ids = ids_of(tiny, "a END")
    for finish in (None, STOPPED, Finish(reason="stop", matched=ids_of(tiny, "!")[0])):
        stream = TextStream(tiny, SamplingParams(stop=("END",)))
        assert stream.push(TokenDelta(ids + ids_of(tiny, " b!"), finish)).num_unused == len(ids_of(tiny, " b!"))


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
