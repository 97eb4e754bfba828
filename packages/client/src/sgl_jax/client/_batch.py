"""Many calls with a bound on how many are under way: the steps, and what became of each item. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

from sgl_jax.client._requests import Each, Steps

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[ValueT]):
    """What became of one item of a batch.

    Attributes:
        value: what the function returned; None where it failed.
        error: what it raised; None where it did not.
    """

    value: ValueT | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return self.error is None

    def unwrap(self) -> ValueT:
        """The value. Raises the item's error where there is one."""
        if self.error is not None:
            raise self.error
        return cast("ValueT", self.value)


def batch(
    function: Callable[[ItemT], Any],
    items: Iterable[ItemT],
    *,
    concurrency: int,
    on_progress: Callable[[int, int], object] | None,
) -> Steps[list[BatchResult[Any]]]:
    """Steps that call `function` with each item, at most `concurrency` at a time; one result an item, in order.

    Raises `ValueError` for a `concurrency` below 1.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}.")
    calls = [partial(function, item) for item in items]
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(calls))

    ended = yield Each(calls, limit=concurrency, on_ended=count)
    assert isinstance(ended, list)
    return ended
