from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sgl_jax.engine.text.stop import StopMatcher


def one_shot(text: str, stops: list[str], trim: bool) -> tuple[str, str | None]:
    """The plain statement of the rule: the first completed, of those the longest."""
    found = [(text.find(stop) + len(stop), -len(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    end, _, stop = min(found)
    return text[: end - len(stop)] if trim else text[:end], stop


# Few letters, so that stop strings overlap with the text and with each other.
letters = st.text("ab", min_size=1, max_size=6)


@given(
    pushes=st.lists(st.text("abc", max_size=8), max_size=10),
    stops=st.lists(letters, max_size=4),
    trim=st.booleans(),
)
@example(pushes=["aab", "aabaab", "b"], stops=["aabaabb"], trim=True)
@example(pushes=["ab", "cd"], stops=["abcd", "bc"], trim=True)
def test_any_split_is_like_one_search(pushes: list[str], stops: list[str], trim: bool) -> None:
    matcher = StopMatcher(stops, trim=trim)
    passed = ""
    for push in pushes:
        passed += matcher.push(push)
    passed += matcher.flush()
    assert (passed, matcher.matched) == one_shot("".join(pushes), stops, trim)


@given(
    text=st.text("ab", max_size=20), rest=st.text("ab", max_size=10), stops=st.lists(letters, min_size=1, max_size=4)
)
def test_nothing_that_may_be_a_beginning_is_passed_on(text: str, rest: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    passed = matcher.push(text)
    final, _ = one_shot(text + rest, stops, trim=True)
    assert final.startswith(passed)


@given(text=st.text("abx", max_size=20), stops=st.lists(letters, min_size=1, max_size=4))
def test_nothing_is_held_back_without_need(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    passed = matcher.push(text)
    if matcher.matched is None:
        held = text[len(passed) :]
        assert not held or any(stop.startswith(held) for stop in stops)


@given(
    early=st.lists(st.text("ab", max_size=8), max_size=3),
    late=st.lists(st.text("abc", max_size=8), max_size=4),
    stops=st.lists(letters, min_size=1, max_size=4),
)
def test_what_is_passed_over_stops_nothing(early: list[str], late: list[str], stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    passed = "".join([matcher.pass_over(piece) for piece in early] + [matcher.push(piece) for piece in late])
    passed += matcher.flush()
    text, begin = "".join(early + late), len("".join(early))
    ends = [
        (end, -len(stop), stop)
        for end in range(begin + 1, len(text) + 1)
        for stop in stops
        if text[:end].endswith(stop)
    ]
    end, length, stop = min(ends, default=(len(text), 0, None))
    assert (passed, matcher.matched) == (text[: end + length], stop)


def test_a_stop_string_over_three_pieces() -> None:
    matcher = StopMatcher(["\nUser:"])
    assert [matcher.push(piece) for piece in ("Hi", "!\nU", "se", "r: more")] == ["Hi", "!", "", ""]
    assert matcher.matched == "\nUser:"


def test_a_false_alarm_is_passed_on_later() -> None:
    matcher = StopMatcher(["\nUser:"])
    assert [matcher.push(piece) for piece in ("Hi\nU", "p")] == ["Hi", "\nUp"]
    assert matcher.matched is None


def test_nothing_follows_a_match() -> None:
    matcher = StopMatcher(["."])
    assert matcher.push("a.b") == "a"
    assert matcher.push("c.d") == ""
    assert matcher.flush() == ""
    assert matcher.matched == "."


def test_kept_stop_string() -> None:
    matcher = StopMatcher(["END"], trim=False)
    assert [matcher.push("xE"), matcher.push("NDy")] == ["x", "END"]


def test_empty_stop_strings_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        StopMatcher(["a", ""])
