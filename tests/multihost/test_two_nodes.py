"""Two nodes are one server: here both are processes of this machine, each with one device of a tiny model's two."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from safetensors.numpy import load_file, save_file

from tests.e2e.server_process import PATIENCE, ServerProcess, wait_until

GOLDEN = Path(__file__).parents[1] / "parity" / "goldens" / "llama_gqa.json"

Node = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def model(golden: dict[str, Any], tiny_model: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tiny_model.make_tiny_model(tmp_path_factory.mktemp("model"), **golden["model"]["arguments"])
    return folder


@pytest.fixture
def start(model: Path, environ: dict[str, str], tmp_path: Path) -> Iterator[Node]:
    """Starts node 0 or 1 of two; again, too, when it has ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = (f"--model-path={model}", "--tp-size=2", "--nnodes=2", f"--dist-init-addr={address}")
    started: list[ServerProcess] = []

    def start(rank: int, *more: str) -> ServerProcess:
        log = tmp_path / f"log-{len(started)}"
        node = ServerProcess(log, *flags, f"--node-rank={rank}", "--skip-server-warmup", *more, environ=environ)
        started.append(node)
        return node

    yield start
    for node in started:
        node.close()
    assert not [pid for node in started for pid in node.survivors()]


def generate(node: ServerProcess, prompt: list[int], **sampling: Any) -> Any:
    body = {"input_ids": prompt, "sampling_params": {"temperature": 0.0, "ignore_eos": True, **sampling}}
    return httpx.post(f"{node.url}/generate", json=body, timeout=PATIENCE)


def test_two_nodes_say_what_transformers_says(start: Node, golden: dict[str, Any]) -> None:
    other, first = start(1), start(0)
    first.wait_ready()
    cases = golden["cases"]
    count = len(cases[0]["token_ids"])
    with ThreadPoolExecutor(len(cases)) as threads:
        together = threads.map(lambda case: generate(first, case["prompt_ids"], max_new_tokens=count), cases)
    assert [answer.json()["output_ids"] for answer in together] == [case["token_ids"] for case in cases]
    # What a plan holds besides numbers: a grammar's mask, and what penalties need to know of the sequence.
    masked = generate(first, cases[0]["prompt_ids"], max_new_tokens=8, regex="[ab]{1,8}", ignore_eos=False).json()
    assert masked["text"]
    assert set(masked["text"]) <= set("ab")
    banned = cases[0]["token_ids"][0]
    biased = generate(first, cases[0]["prompt_ids"], max_new_tokens=8, logit_bias={str(banned): -100}).json()
    assert banned not in biased["output_ids"]
    first.signal(signal.SIGTERM)
    assert (first.wait(), other.wait()) == (0, 0)
    assert "node 0 has ended" in other.log


def test_a_lost_node_fails_requests_and_may_come_back(start: Node, golden: dict[str, Any]) -> None:
    case = golden["cases"][0]
    other, first = start(1), start(0)
    first.wait_ready()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(generate, first, case["prompt_ids"], max_new_tokens=400)
        wait_until(lambda: httpx.get(f"{first.url}/get_load").json()[0]["num_reqs"], "a request")
        other.signal(signal.SIGKILL)
        answer = waiting.result()
    assert answer.status_code == 503
    assert "node 1 is gone" in first.log
    other = start(1)
    first.wait_ready()
    again = generate(first, case["prompt_ids"], max_new_tokens=len(case["token_ids"]))
    assert again.json()["output_ids"] == case["token_ids"]


def test_a_lost_first_node_ends_the_others(start: Node) -> None:
    other, first = start(1), start(0)
    first.wait_ready()
    os.kill(first.engine_pid, signal.SIGKILL)
    assert other.wait() != 0
    # JAX kills who sees node 0 end, and may be faster.
    assert "node 0 is gone" in other.log or "coordination service" in other.log


def test_nodes_that_would_do_different_things_say_so(start: Node) -> None:
    """They would wait for each other for ever."""
    nodes = [start(1, "--page-size=32", "--random-seed=3"), start(0)]
    for node in nodes:
        assert node.wait() == 2
    for node in nodes:
        assert "The nodes differ in --page-size, --random-seed;" in node.log


def test_a_node_that_cannot_load_ends_all(start: Node, model: Path, tmp_path: Path) -> None:
    """And nobody waits for it."""
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    (weights,) = damaged.glob("*.safetensors")
    tensors = load_file(weights)
    del tensors["model.norm.weight"]
    save_file(tensors, weights)
    other, first = start(1, f"--model-path={damaged}"), start(0)
    assert other.wait() == 1
    assert "model.norm.weight" in other.log
    assert first.wait() == 1
    assert "node 1 is gone" in first.log
    assert "Traceback" not in other.log + first.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_at_once(start: Node, number: signal.Signals) -> None:
    other, first = start(1), start(0)
    first.wait_ready()
    other.signal(number)
    assert other.wait() == -number
    wait_until(lambda: "node 1 is gone" in first.log, "node 0 hears of it")


def test_node_0_needs_the_port(start: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = start(0, f"--dist-init-addr=127.0.0.1:{taken.getsockname()[1]}")
        assert first.wait() == 2
    assert "cannot listen on port" in first.log


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_in_vain_is_told(rank: int) -> None:
    """And not by JAX, which aborts with a stack of C++."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = f"""
from sgl_jax.engine.parallel import nodes
nodes.JOIN_SECONDS = 2
nodes.join_nodes("127.0.0.1", {port}, 2, {rank})
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert f"Node {rank} of 2 did not find the others at 127.0.0.1:{port}." in ended.stderr
