"""Many calls at a time: order, bound, errors, progress, and an early end."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import pytest

from sgl_jax.client import AsyncSglJax, BadRequestError, SglJax


def echo(says):
    """Answers with the question; refuses `bad`."""

    def answer(request):
        text = json.loads(request.content)["messages"][0]["content"]
        if text == "bad":
            return httpx.Response(400, json={"error": {"message": "no"}})
        return httpx.Response(200, json=says(text))

    return answer


def test_results_are_in_the_items_order_and_errors_are_each_ones_own(use, says):
    items = [str(number) for number in range(9)] + ["bad", "last"]
    progress = []
    results, server = use(
        echo(says),
        lambda client: client.batch(
            client.chat, iter(items), concurrency=3, on_progress=lambda *state: progress.append(state)
        ),
    )
    assert [result.value.text if result.ok else type(result.error) for result in results] == [
        *items[:9],
        BadRequestError,
        "last",
    ]
    assert results[0].unwrap().text == "0"
    with pytest.raises(BadRequestError):
        results[9].unwrap()
    assert progress == [(done, 11) for done in range(1, 12)]
    assert len(server.requests) == 11


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_items(concurrency, use):
    assert use({}, lambda client: client.batch(client.chat, [], concurrency=concurrency))[0] == []


def test_a_bound_below_one_is_refused(use):
    with pytest.raises(ValueError, match="concurrency must be at least 1"):
        use({}, lambda client: client.batch(client.chat, ["x"], concurrency=0))


def test_threads_reach_the_bound_and_keep_it(says):
    together, lock, under_way, most = threading.Barrier(4), threading.Lock(), 0, 0

    def ask(item):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(20)  # four at a time, or never
        with lock:
            under_way -= 1
        together.wait(20)
        return item

    with SglJax("http://h") as client:
        results = client.batch(ask, range(12), concurrency=4)
    assert [result.value for result in results] == list(range(12))
    assert most == 4


def test_tasks_reach_the_bound_and_keep_it():
    under_way = most = 0

    async def main():
        together = asyncio.Barrier(4)

        async def ask(item):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.wait_for(together.wait(), 20)
            under_way -= 1
            await asyncio.wait_for(together.wait(), 20)
            return item

        async with AsyncSglJax("http://h") as client:
            return await client.batch(ask, range(12), concurrency=4)

    assert [result.value for result in asyncio.run(main())] == list(range(12))
    assert most == 4


def test_one_at_a_time_is_the_callers_own_thread():
    with SglJax("http://h") as client:
        results = client.batch(lambda item: threading.current_thread(), [1, 2], concurrency=1)
    assert {result.value for result in results} == {threading.current_thread()}


def test_an_error_of_the_progress_callback_ends_the_batch():
    begun = []

    def stop(done, total):
        raise RuntimeError("enough")

    with SglJax("http://h") as client, pytest.raises(RuntimeError, match="enough"):
        client.batch(begun.append, range(1000), concurrency=1, on_progress=stop)
    assert begun == [0]


def test_an_exit_in_a_thread_is_the_callers():
    def leave(item):
        raise SystemExit(3)

    with SglJax("http://h") as client, pytest.raises(SystemExit):
        client.batch(leave, range(4), concurrency=2)


def test_cancelling_cancels_the_calls_under_way():
    ended = []

    async def main():
        begun = asyncio.Event()

        async def hang(item):
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(item)

        async with AsyncSglJax("http://h") as client:
            task = asyncio.create_task(client.batch(hang, range(5), concurrency=2))
            await asyncio.wait_for(begun.wait(), 20)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert ended == [0, 1]
