from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
import zmq

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.messages import Control, ControlReply, EngineInfo, GenerateRequest, Phase, StepOutputs
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.ipc import wire

STUB = Path(__file__).with_name("stub_worker.py")
PATIENCE = 60


class Parent:
    """The parent's side of one worker, by hand."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.folder = folder
        self.context = zmq.Context()
        self.commands = self.context.socket(zmq.PUSH)
        self.events = self.context.socket(zmq.PULL)
        self.events.set(zmq.RCVTIMEO, PATIENCE * 1000)
        self.commands.bind(f"ipc://{folder}/c")
        self.events.bind(f"ipc://{folder}/e")
        self.process = subprocess.Popen([sys.executable, STUB], stdin=subprocess.PIPE)
        setup = wire.WorkerSetup(
            engine=EngineConfig(model_path=mode, device="cpu"),
            folder=str(folder),
            commands=f"ipc://{folder}/c",
            events=f"ipc://{folder}/e",
        )
        self.stdin.write(wire.encode_setup(setup))
        self.stdin.flush()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def receive(self) -> wire.Event:
        return wire.decode_event(self.events.recv())

    def until(self, kind: type[wire.Event]) -> wire.Event:
        while not isinstance(event := self.receive(), kind):
            pass
        return event

    def ping(self) -> None:
        self.commands.send(wire.encode(Control(control_id="p", verb="ping")))
        assert self.until(ControlReply) == ControlReply(control_id="p")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.context.destroy(linger=0)


@pytest.fixture
def parent() -> Iterator[Callable[[str], Parent]]:
    made: list[Parent] = []
    # Not pytest's tmp_path: its paths may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="w-", ignore_cleanup_errors=True) as folder:

        def make(mode: str) -> Parent:
            made.append(Parent(Path(folder), mode))
            return made[-1]

        yield make
        for one in made:
            one.close()


def test_one_message_a_step(parent: Callable[[str], Parent]) -> None:
    one = parent("ok")
    assert [type(one.receive()) for _ in range(4)] == [Phase, Phase, Phase, EngineInfo]
    for name in ("a", "b"):
        sampling = SamplingParams(max_new_tokens=3)
        one.commands.send(wire.encode(GenerateRequest(request_id=name, prompt_ids=[5], sampling=sampling)))
    tokens: dict[str, list[int]] = {"a": [], "b": []}
    finished = 0
    while finished < 2:
        outputs = one.receive()
        assert isinstance(outputs, StepOutputs)
        assert len(set(outputs.request_ids)) == len(outputs.request_ids) > 0
        for name, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            tokens[name] += delta.token_ids
            finished += delta.finish is not None
    assert tokens == {"a": [5, 6, 7], "b": [5, 6, 7]}


def test_garbage_is_dropped_and_life_goes_on(parent: Callable[[str], Parent]) -> None:
    one = parent("ok")
    one.until(EngineInfo)
    for frame in (b"", b"\xc1", b"garbage", wire.encode(Phase("ready"))):
        one.commands.send(frame)
    one.ping()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_groups_signals_do_not_end_it(parent: Callable[[str], Parent], number: signal.Signals) -> None:
    one = parent("ok")
    one.until(EngineInfo)
    one.process.send_signal(number)
    one.ping()


@pytest.mark.parametrize("mode", ["ok", "slow-build", "stuck"])
def test_it_ends_with_its_stdin_and_leaves_no_folder(parent: Callable[[str], Parent], mode: str) -> None:
    one = parent(mode)
    one.until(Phase if mode == "slow-build" else EngineInfo)
    if mode == "stuck":
        one.commands.send(wire.encode(GenerateRequest(request_id="a", prompt_ids=[5])))
    one.stdin.close()
    assert one.process.wait(PATIENCE) == 0
    assert not one.folder.exists()


def test_a_crash_is_told_before_the_end(parent: Callable[[str], Parent]) -> None:
    one = parent("crash")
    one.until(EngineInfo)
    one.commands.send(wire.encode(GenerateRequest(request_id="a", prompt_ids=[5])))
    assert one.receive() == wire.WorkerFailed(cause="internal", message="RuntimeError: the device is gone")
    assert one.process.wait(PATIENCE) == wire.EXIT_REPORTED


def test_without_a_setup_it_ends() -> None:
    done = subprocess.run([sys.executable, STUB], stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    assert done.returncode == 0


PARENT_SCRIPT = """
import asyncio, sys
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.server.ipc.client import ZmqEngineClient

async def main():
    config = EngineConfig(model_path=sys.argv[2], device="cpu")
    client = await ZmqEngineClient.start(config, command=(sys.executable, sys.argv[1]))
    while client.phase().name == "starting":
        await asyncio.sleep(0.01)
    print(client.worker_pid, client.folder, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["ok", "slow-build"])
def test_a_killed_parent_takes_its_worker_along(mode: str) -> None:
    command = [sys.executable, "-c", PARENT_SCRIPT, str(STUB), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        worker = os.pidfd_open(int(pid)) if hasattr(os, "pidfd_open") else None
        process.kill()
        process.wait(PATIENCE)
    if worker is None:
        pytest.skip("this system has no pidfd to wait with")
    try:
        ready, _, _ = select.select([worker], [], [], PATIENCE)
        assert ready, "the worker outlived its parent"
    finally:
        os.close(worker)
    assert not Path(folder).exists()
