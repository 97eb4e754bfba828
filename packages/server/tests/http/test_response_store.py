"""Stored answers are bounded in number, size and time."""

from __future__ import annotations

from typing import Any

import pytest

from sgl_jax.server.errors import ApiError
from sgl_jax.server.openai.responses.items import MessageItem, OutputText, ResponseObject
from sgl_jax.server.openai.responses.schema import ReasoningConfig, TextConfig
from sgl_jax.server.openai.responses.store import ResponseStore, item_id, response_of_item
from sgl_jax.server.openai.schema.chat import ChatMessage


def answer(name: str, text: str = "") -> tuple[ResponseObject, list[ChatMessage]]:
    response = ResponseObject(
        id=f"resp_{name}",
        created_at=0,
        status="completed",
        model="m",
        output=[MessageItem(id=item_id("msg", f"resp_{name}", 0), status="completed", content=[OutputText(text=text)])],
        text=TextConfig(),
        reasoning=ReasoningConfig(),
    )
    return response, [ChatMessage(role="user", content=text)]


def make(**bounds: Any) -> ResponseStore:
    return ResponseStore(**{"max_count": 100, "max_bytes": 10**6, "seconds": 60.0, **bounds})


def test_the_latest_used_stay() -> None:
    store = make(max_count=2)
    for name in "ab":
        store.put(*answer(name))
    assert store.get("resp_a")
    store.put(*answer("c"))
    assert [bool(store.get(f"resp_{name}")) for name in "abc"] == [True, False, True]


def test_size_is_bounded_and_given_back() -> None:
    store = make(max_bytes=10_000)
    for number in range(50):
        store.put(*answer(str(number), "x" * 1000))
    assert 1 <= len(store) <= 4
    assert store.delete("resp_49")
    assert not store.delete("resp_49")
    store.put(*answer("huge", "x" * 20_000))
    assert store.get("resp_huge") is None
    assert store.get("resp_48")
    assert make(max_count=0).get("resp_a") is None
    empty = make(max_count=0)
    empty.put(*answer("a"))
    assert len(empty) == 0


def test_a_conversation_counts_whole_in_each_of_its_answers() -> None:
    store = make(max_bytes=30_000)
    messages: list[ChatMessage] = []
    for number in range(20):
        response, said = answer(str(number), "x" * 1000)
        messages = [*messages, *said]
        store.put(response, messages)
    assert sum(len(store.found(f"resp_{number}").messages) for number in range(20) if store.get(f"resp_{number}")) < 30


def test_answers_are_forgotten_after_their_last_use() -> None:
    now = 0.0
    store = make(seconds=10.0, clock=lambda: now)
    store.put(*answer("a"))
    store.put(*answer("b"))
    now = 9.0
    assert store.get("resp_a")
    now = 11.0
    assert store.get("resp_b") is None
    assert store.before("resp_a")
    now = 22.0
    with pytest.raises(ApiError, match="there is no stored response 'resp_a'"):
        store.before("resp_a")
    assert len(store) == 0


def test_items_are_found_by_their_ids() -> None:
    store = make()
    response, messages = answer("a", "Hi")
    store.put(response, messages)
    assert store.find_item("msg_a_0") is response.output[0]
    for name in ("msg_a_1", "msg_b_0", "msg_a", "msg", "", "msg_a_-1", "msg_a_x", "msg_a_" + "9" * 5000):
        assert store.find_item(name) is None
    assert response_of_item(item_id("fc", "resp_ab", 3)) == ("resp_ab", 3)
