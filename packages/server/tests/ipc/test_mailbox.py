from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Finish, TokenDelta, TokenLogprobs
from sgl_jax.server.ipc.mailbox import Mailbox, merge


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=6), st.integers(0, 100))
def test_merged_deltas_say_the_same_as_one_by_one(steps: list[list[int]], cached: int) -> None:
    deltas = [
        TokenDelta(
            tokens,
            Finish(reason="length") if index == len(steps) - 1 else None,
            0 if index else cached,
            [TokenLogprobs(-float(token)) for token in tokens],
        )
        for index, tokens in enumerate(steps)
    ]
    merged = merge(deltas)
    assert merged.token_ids == [token for tokens in steps for token in tokens]
    assert [entry.logprob for entry in merged.logprobs] == [-float(token) for token in merged.token_ids]
    assert merged.finish == Finish(reason="length")
    assert merged.cached_tokens == cached


def test_a_lagging_reader_gets_all_at_once() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        for token in range(1000):
            mailbox.put(TokenDelta([token]))
        assert (await mailbox.take()).token_ids == list(range(1000))

    asyncio.run(scenario())


def test_a_waiting_reader_is_woken() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        reading = asyncio.create_task(mailbox.take())
        await asyncio.sleep(0)
        mailbox.put(TokenDelta([1]))
        mailbox.put(TokenDelta([2]))
        assert (await reading).token_ids == [1, 2]

    asyncio.run(scenario())


def test_what_arrived_before_a_failure_is_not_lost() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.put(TokenDelta([1]))
        mailbox.fail("gone")
        assert (await mailbox.take()).token_ids == [1]
        for _ in range(2):
            with pytest.raises(EngineDeadError, match="gone"):
                await mailbox.take()

    asyncio.run(scenario())


def test_a_cancelled_reader_leaves_the_mailbox_usable() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        reading = asyncio.create_task(mailbox.take())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        mailbox.put(TokenDelta([3]))
        assert (await mailbox.take()).token_ids == [3]

    asyncio.run(scenario())
