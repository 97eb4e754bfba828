"""How the two clients perform `Each`: in threads, and in tasks. An item's error is its result; it ends nothing else."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import islice
from queue import SimpleQueue
from typing import Any

from sgl_jax.client._batch import BatchResult
from sgl_jax.client._requests import Each

Indexed = tuple[int, BatchResult[Any]]


def in_threads(step: Each) -> list[BatchResult[Any]]:
    """Performs the step; in the caller's thread where one at a time is enough.

    What ends it early (Ctrl-C, an error of `on_ended`) begins no further call, and waits for none.
    """
    limit = min(step.limit or 1, len(step.calls))
    ended: list[BatchResult[Any]] = [BatchResult()] * len(step.calls)
    with closing(_one_by_one(step.calls) if limit <= 1 else _side_by_side(step.calls, limit)) as results:
        for index, result in results:
            ended[index] = result
            if step.on_ended is not None:
                step.on_ended()
    return ended


def _one_by_one(calls: Sequence[Callable[[], Any]]) -> Generator[Indexed]:
    for index, call in enumerate(calls):
        yield index, _result(call)


def _side_by_side(calls: Sequence[Callable[[], Any]], limit: int) -> Generator[Indexed]:
    waiting = iter(enumerate(calls))
    lock, stopped = threading.Lock(), threading.Event()
    ended: SimpleQueue[Indexed | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            while not stopped.is_set():
                with lock:
                    index, call = next(waiting, (-1, None))
                if call is None:
                    return
                ended.put((index, _result(call)))
        except BaseException as error:  # noqa: BLE001  # an exit: the caller's to handle, who waits for this thread
            ended.put(error)

    for _ in range(limit):  # daemons: a program that is told to end does not wait for a slow server
        threading.Thread(target=work, name="sgl-jax-batch", daemon=True).start()
    try:
        for _ in calls:
            one = ended.get()
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stopped.set()


def _result(call: Callable[[], Any]) -> BatchResult[Any]:
    try:
        return BatchResult(call())
    except Exception as error:  # noqa: BLE001  # any: it is kept for the caller
        return BatchResult(error=error)


async def in_tasks(step: Each) -> list[BatchResult[Any]]:
    """Performs the step; what the calls return is awaited where it can be.

    What ends it early (a cancelled task, an error of `on_ended`) cancels the calls under way.
    """
    limit = step.limit or len(step.calls)
    waiting = iter(enumerate(step.calls))
    under_way: dict[asyncio.Task[BatchResult[Any]], int] = {}
    ended: list[BatchResult[Any]] = [BatchResult()] * len(step.calls)
    try:
        while True:
            for index, call in islice(waiting, limit - len(under_way)):
                under_way[asyncio.create_task(_awaited(call))] = index
            if not under_way:
                return ended
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                ended[under_way.pop(task)] = task.result()
                if step.on_ended is not None:
                    step.on_ended()
    finally:
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)


async def _awaited(call: Callable[[], Any]) -> BatchResult[Any]:
    try:
        value = call()
        return BatchResult(await value if inspect.isawaitable(value) else value)
    except Exception as error:  # noqa: BLE001  # any: it is kept for the caller
        return BatchResult(error=error)
