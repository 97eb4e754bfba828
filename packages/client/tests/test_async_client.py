"""The async client: what differs from the sync one is the sockets, so that is what is tested here."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from sgl_jax.client import (
    APIConnectionError,
    APITimeoutError,
    AsyncSglJax,
    RateLimitError,
    ServiceUnavailableError,
    StreamError,
)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


@pytest.fixture
def whole(stream_head, events_of):
    """Sends a whole answer, `one two three`, and says that the connection ends with it."""

    def script(peer):
        peer.send(stream_head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        peer.send_events(*events_of("one two three"), b"[DONE]")
        peer.send_chunk(b"")

    return script


def test_every_resource(server_url):
    async def main():
        async with AsyncSglJax(server_url) as client:
            assert repr(client) == f"AsyncSglJax({server_url!r})"
            assert (await client.chat("Hello!")).text == "It is a fine day."
            assert (await client.chat.completions.create(messages="Hello!")).usage.total_tokens == 8
            assert (await client.completions.create(prompt="a")).text == "It is a fine day."
            assert (await client.generate([1, 2])).output_ids == [4, 5]
            assert [model.id for model in await client.models.list()] == ["tiny"]
            assert (await client.health()).ok
            assert (await client.health.ready()).ok
            await client.wait_until_ready(timeout=10)

    run(main())


def test_calls_run_side_by_side(server_url):
    async def main():
        async with AsyncSglJax(server_url) as client:
            return await asyncio.gather(*(client.chat(f"{n}") for n in range(20)))

    assert {answer.text for answer in run(main())} == {"It is a fine day."}


def test_a_stream_is_awaited_or_entered(scripted, whole):
    async def main():
        async with AsyncSglJax(scripted(whole).url) as client:
            async with client.chat.stream("Count.") as stream:
                assert [text async for text in stream.text_stream] == ["one ", "two ", "three"]
                assert (await stream.get_final_message()).text == "one two three"
            async with await client.chat("Count.", stream=True) as stream:
                assert (await stream.get_final_response()).usage.completion_tokens == 3
            stream = await asyncio.create_task(client.chat.completions.create(messages="Count.", stream=True))
            assert "".join([chunk.text async for chunk in stream]) == "one two three"

    run(main())


def test_leaving_early_closes_the_connection(scripted, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of("one two")[:2])
        if peer.wait_until_gone():
            server.gone.set()

    server = scripted(script)

    async def main():
        async with AsyncSglJax(server.url) as client:
            async with client.chat.stream("Count.") as stream:
                async for _ in stream.text_stream:
                    break
            assert await asyncio.to_thread(server.gone.wait, 20)
            assert [chunk async for chunk in stream] == []
            with pytest.raises(StreamError, match="closed before its end"):
                await stream.get_final_response()

    run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_closes_the_connection(streamed, scripted, stream_head):
    def script(peer):
        if streamed:
            peer.send(stream_head)
        asked.set()
        if peer.wait_until_gone():
            server.gone.set()

    import threading

    asked = threading.Event()
    server = scripted(script)

    async def read(client):
        if not streamed:
            return await client.chat("Count.")
        async with client.chat.stream("Count.") as stream:
            return await stream.get_final_response()

    async def main():
        async with AsyncSglJax(server.url) as client:
            task = asyncio.create_task(read(client))
            assert await asyncio.to_thread(asked.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.gone.wait, 20)

    run(main())
    assert server.connections == 1


def test_broken_streams_are_typed_errors(scripted, stream_head, events_of):
    endings = {
        StreamError: lambda peer: None,
        APITimeoutError: lambda peer: peer.wait_until_gone(),
        ServiceUnavailableError: lambda peer: peer.send_events(
            {"error": {"message": "down", "type": "service_unavailable_error"}}
        ),
    }

    async def read(kind):
        def script(peer):
            peer.send(stream_head)
            peer.send_events(events_of("one")[0])
            endings[kind](peer)

        async with AsyncSglJax(scripted(script).url, timeout=0.5) as client:
            async with client.chat.stream("Count.") as stream:
                with pytest.raises(kind) as caught:
                    [chunk async for chunk in stream]
            assert caught.value.request_id == "req-7"

    for kind in endings:
        run(read(kind))


def test_what_breaks_after_the_end_is_no_loss(scripted, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of("one two"), b"[DONE]")

    async def main():
        async with AsyncSglJax(scripted(script).url) as client, client.chat.stream("Count.") as stream:
            assert (await stream.get_final_message()).text == "one two"

    run(main())


def test_refusals_are_repeated_and_then_raised():
    requests = []

    def answer(request):
        requests.append(request)
        return httpx.Response(429, headers={"retry-after": "0"})

    async def main():
        async with AsyncSglJax("http://h", transport=httpx.MockTransport(answer), max_retries=1) as client:
            with pytest.raises(RateLimitError):
                await client.chat("Hello!")
            with pytest.raises(RateLimitError):
                await client.with_options(max_retries=0).chat.stream("Hello!")

    run(main())
    assert len(requests) == 3


def test_no_answer_is_a_connection_error():
    def answer(request):
        raise httpx.ConnectError("refused")

    async def main():
        async with AsyncSglJax("http://h", transport=httpx.MockTransport(answer), max_retries=0) as client:
            with pytest.raises(APIConnectionError, match="refused"):
                await client.chat("Hello!")

    run(main())


def test_an_http_client_of_ones_own_stays_open():
    async def main():
        transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": []}))
        async with httpx.AsyncClient(transport=transport) as http:
            async with AsyncSglJax("http://h", http_client=http) as client:
                assert len(await client.models.list()) == 0
            assert not http.is_closed

    run(main())
