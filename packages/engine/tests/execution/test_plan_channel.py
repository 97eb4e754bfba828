"""Plans between nodes: what arrives is what was sent, and nobody waits for somebody who is gone."""

from __future__ import annotations

import queue
import socket
import threading

import msgspec
import numpy as np
import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import plan_channel
from sgl_jax.engine.execution.plan_channel import PlanReceiver, PlanSender, decode_plan, encode_plan, follow
from sgl_jax.engine.plan import PageCopy, SlotHistory, SlotPlan, StepPlan
from sgl_jax.engine.sampling_params import SamplingParams


def plan(*, slot: int = 3) -> StepPlan:
    sampling = SamplingParams(temperature=0.5, logit_bias={7: -100.0}, stop_token_ids=(5,))
    mask = np.asarray([1, 0xFFFFFFFF], np.uint32)
    history = SlotHistory([1, 2], (3,), frozenset({5}))
    prompt = SlotPlan(slot, 0, 2, (1, 2), 0, [9, 8], True, sampling, 2**32 - 1, True, history, mask, [2], (0, 2))
    return StepPlan((prompt,), (PageCopy(4, 9),))


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads are nodes: what the first says, the second hears."""
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def told_by_node_0(message: bytes) -> bytes:
        if any(message):
            said.put(message)
            return message
        return said.get(timeout=30)

    monkeypatch.setattr(plan_channel, "told_by_node_0", told_by_node_0)


def pair(lost: queue.SimpleQueue[str]) -> tuple[PlanSender, PlanReceiver]:
    made: queue.SimpleQueue[PlanSender] = queue.SimpleQueue()
    threading.Thread(target=lambda: made.put(PlanSender(2, lost.put))).start()
    receiver = PlanReceiver("127.0.0.1", 1, lost.put)
    return made.get(timeout=30), receiver


def test_a_plan_says_the_same_on_the_other_side():
    sent = plan()
    came = decode_plan(encode_plan(sent))
    assert came.copies == sent.copies
    (one,), (other,) = sent.slots, came.slots
    np.testing.assert_array_equal(other.mask, one.mask)
    assert other.mask.dtype == np.uint32
    assert set(other.history.ending_ids) == {5}
    for name in ("slot", "start", "num_tokens", "sample", "sampling", "seed", "adjust", "pooled", "new_page_index"):
        assert getattr(other, name) == getattr(one, name), name
    for name in ("token_ids", "new_pages", "targets"):
        assert list(getattr(other, name)) == list(getattr(one, name)), name
    plain = StepPlan((msgspec.structs.replace(one, mask=None, history=None, pooled=None),))
    assert decode_plan(encode_plan(plain)).slots[0].mask is None


def test_plans_come_in_order_until_the_goodbye(meeting: None):
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()
    sender, receiver = pair(lost)
    for slot in range(5):
        sender.send(plan(slot=slot))
    sender.close()
    sender.close()
    assert [came.slots[0].slot for came in receiver.plans()] == list(range(5))
    assert lost.empty()


def test_both_sides_hear_that_the_other_is_gone(meeting: None):
    lost: queue.SimpleQueue[str] = queue.SimpleQueue()
    sender, receiver = pair(lost)
    sender.send(plan())
    for node in sender._nodes.values():  # as the system does when a process ends
        node.shutdown(socket.SHUT_RDWR)
    assert {lost.get(timeout=30), lost.get(timeout=30)} == {"node 1 is gone", "node 0 is gone"}
    sender.send(plan())  # in vain, and that is all
    assert next(receiver.plans()).slots[0].slot == 3


def lead_alone(monkeypatch: pytest.MonkeyPatch) -> tuple[queue.SimpleQueue[object], int, bytes]:
    """Node 0 of two on a thread: what becomes of it, its port and its secret."""
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    monkeypatch.setattr(plan_channel, "told_by_node_0", lambda message: said.put(message) or message)
    made: queue.SimpleQueue[object] = queue.SimpleQueue()

    def lead() -> None:
        try:
            made.put(PlanSender(2))
        except ConfigError as error:
            made.put(str(error))

    threading.Thread(target=lead).start()
    return made, *plan_channel._ADDRESS.unpack(said.get(timeout=30))


def test_strangers_are_sent_away(monkeypatch: pytest.MonkeyPatch):
    made, port, secret = lead_alone(monkeypatch)
    hello = plan_channel._HELLO.pack
    for shown in (b"", b"GET / HTTP/1.1", hello(1, b"x" * 32), hello(7, secret)):
        with socket.create_connection(("127.0.0.1", port), 30) as stranger:
            stranger.sendall(shown)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), 30) as node:
        node.sendall(hello(1, secret))
        sender = made.get(timeout=30)
        assert isinstance(sender, PlanSender)
        node.settimeout(30)
        threading.Thread(target=sender.close).start()
        assert node.recv(4) == bytes(4)


def test_node_0_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_channel, "CONNECT_SECONDS", 0.05)
    made, _, _ = lead_alone(monkeypatch)
    assert "[1] joined, but did not connect" in str(made.get(timeout=30))


class Recorder:
    """An executor that notes the order of what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def dispatch(self, plan: StepPlan) -> Recorder.Pending:
        self.events.append(f"dispatch {plan.slots[0].slot}")
        return self.Pending(self, plan.slots[0].slot)

    class Pending:
        def __init__(self, recorder: Recorder, slot: int) -> None:
            self.recorder, self.slot = recorder, slot

        def collect(self) -> None:
            self.recorder.events.append(f"collect {self.slot}")


def test_a_follower_is_one_step_ahead_at_most():
    recorder = Recorder()
    follow(recorder, iter([plan(slot=slot) for slot in range(3)]))
    assert recorder.events == ["dispatch 0", "dispatch 1", "collect 0", "dispatch 2", "collect 1", "collect 2"]
    empty = Recorder()
    follow(empty, iter([]))
    assert empty.events == []
