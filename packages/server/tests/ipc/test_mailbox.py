from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Finish, TokenDelta, TokenLogprobs
from sgl_jax.server.ipc.mailbox import Mailbox


async def pile_up(deltas: list[TokenDelta]) -> TokenDelta:
    mailbox = Mailbox()
    for delta in deltas:
        mailbox.put(delta)
    return await mailbox.take()


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=6), st.integers(0, 100))
def test_what_piled_up_says_the_same_as_one_by_one(steps: list[list[int]], cached: int) -> None:
    deltas = [
        TokenDelta(
            tokens,
            Finish(reason="length") if index == len(steps) - 1 else None,
            0 if index else cached,
            [TokenLogprobs(-float(token)) for token in tokens],
            0.0 if index else 0.5,
        )
        for index, tokens in enumerate(steps)
    ]
    merged = asyncio.run(pile_up(deltas))
    assert merged.token_ids == [token for tokens in steps for token in tokens]
    assert [entry.logprob for entry in merged.logprobs] == [-float(token) for token in merged.token_ids]
    assert merged.finish == Finish(reason="length")
    assert merged.cached_tokens == cached
    assert merged.queue_seconds == 0.5
    # A delta belongs to whoever made it: joining leaves it as it was.
    assert [delta.token_ids for delta in deltas] == steps


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


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=40), st.integers(1, 9))
def test_tokens_wait_for_each_other(steps: list[list[int]], every: int) -> None:
    """But for the first ones, and only until the last one comes."""

    async def scenario() -> list[TokenDelta]:
        mailbox = Mailbox()
        mailbox.every = every
        taken: list[TokenDelta] = []

        async def read() -> None:
            while not taken or taken[-1].finish is None:
                taken.append(await mailbox.take())

        reading = asyncio.create_task(read())
        for index, tokens in enumerate(steps):
            mailbox.put(TokenDelta(tokens, Finish(reason="length") if index == len(steps) - 1 else None))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not index:
                assert len(taken) == 1
        await reading
        return taken

    first, *others = asyncio.run(scenario())
    assert first.token_ids == steps[0]
    assert [token for delta in (first, *others) for token in delta.token_ids] == [one for step in steps for one in step]
    assert all(every <= len(delta.token_ids) < every + 3 for delta in others[:-1])


def test_what_arrived_before_a_failure_is_not_lost() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.every = 4
        mailbox.put(TokenDelta([0]))
        assert (await mailbox.take()).token_ids == [0]
        mailbox.put(TokenDelta([1]))
        mailbox.fail("gone")
        assert (await mailbox.take()).token_ids == [1]
        for _ in range(2):
            with pytest.raises(EngineDeadError, match="gone"):
                await mailbox.take()

    asyncio.run(scenario())


def test_logprobs_of_the_prompt_survive_joining() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        entries = [TokenLogprobs(-1.0), TokenLogprobs(-2.0)]
        mailbox.put(TokenDelta([1], prompt_logprobs=entries))
        mailbox.put(TokenDelta([2]))
        mailbox.put(TokenDelta([3]))
        assert await mailbox.take() == TokenDelta([1, 2, 3], prompt_logprobs=entries)

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
