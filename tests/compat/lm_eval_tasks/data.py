"""Three small data sets, so that nothing is fetched from elsewhere."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

_CHOICES = (
    ("The capital of France is", ["Paris", "a spoon", "seven", "Berlin and"], 0),
    ("The opposite of hot is", ["cold", "a hat", "seven", "to swim"], 0),
    ("Two plus two is", ["purple", "equal to four", "a mountain", "sings"], 1),
    ("The sun rises in the", ["fridge", "pocket", "east", "twelve"], 2),
    ("Water freezes and becomes", ["ice", "fire", "iron", "a verb"], 0),
    ("He drank a cup of", ["gravel", "tea", "roof", "Tuesday"], 1),
)
_ENDINGS = (
    ("The capital of France is", "Paris"),
    ("The capital of Japan is", "Tokyo"),
    ("Monday, Tuesday, Wednesday: a week has this many days, in words:", "seven"),
    ("On a clear day the sky is", "blue"),
)
_TEXT = (
    "The river runs through the town and under the old bridge. In the morning the bakers open their shops, and the "
    "smell of fresh bread fills the streets. Children walk to school with their friends. "
)


def choices(**_: Any) -> dict[str, Dataset]:
    """Questions with four endings and the number of the right one."""
    return _test([{"question": question, "choices": list(of), "answer": right} for question, of, right in _CHOICES])


def endings(**_: Any) -> dict[str, Dataset]:
    """Questions whose answers are one word."""
    return _test([{"question": question, "answer": answer} for question, answer in _ENDINGS])


def texts(**_: Any) -> dict[str, Dataset]:
    """A short text and a long one."""
    return _test([{"text": _TEXT}, {"text": _TEXT * 8}])


def _test(rows: list[dict[str, Any]]) -> dict[str, Dataset]:
    return {"test": Dataset.from_list(rows)}
