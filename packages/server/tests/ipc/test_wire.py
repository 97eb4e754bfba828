from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.errors import ConfigError, EngineDeadError, ModelLoadError
from sgl_jax.engine.messages import (
    AbortRequest,
    Control,
    ControlReply,
    EmbeddingParams,
    EngineInfo,
    Finish,
    GenerateRequest,
    Phase,
    StepOutputs,
    TokenDelta,
    TokenLogprobs,
)
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.ipc import wire
from sgl_jax.server.logs import LogConfig

INFO = EngineInfo(
    model_path="/m",
    architecture="LlamaForCausalLM",
    vocab_size=10,
    max_model_len=8,
    max_total_tokens=64,
    max_running_requests=2,
    eos_token_ids=[1, 2],
    dtype="float32",
    device="cpu",
    summary={"KV pool": "64 tokens"},
    pooling=Pooling(method="mean", normalize=False),
)
COMMANDS: list[wire.Command] = [
    GenerateRequest(request_id="a", prompt_ids=[1, 2]),
    GenerateRequest(request_id="é", prompt_ids=[0], sampling=SamplingParams(seed=-(2**63), stop=("x",), logprobs=3)),
    GenerateRequest(request_id="b", prompt_ids=[0], sampling=SamplingParams(logit_bias={7: -1.5}, min_new_tokens=2)),
    GenerateRequest(request_id="c", prompt_ids=[0], embedding=EmbeddingParams(dimensions=4)),
    AbortRequest(request_ids=["a", "b"]),
    Control(control_id="1", verb="stats"),
]
EVENTS: list[wire.Event] = [
    StepOutputs(),
    StepOutputs(["a"], [TokenDelta([7], Finish(reason="stop", matched=7), 3, [TokenLogprobs(-0.5, [(7, -0.5)])])]),
    StepOutputs(["c"], [TokenDelta([], Finish(reason="stop"), embedding=b"\0\xff\0\1")]),
    Phase("compiling", 3, 12),
    Phase("dead"),
    INFO,
    ControlReply(control_id="1", stats=EngineStats(running=3, wait_ms=0.25)),
    ControlReply(control_id="1", error="no"),
    wire.WorkerFailed(cause="model_load", message="no config.json"),
]

ids = st.integers(0, 2**31 - 1)
logprobs = st.builds(TokenLogprobs, st.floats(-1e6, 0), st.lists(st.tuples(ids, st.floats(-1e6, 0)), max_size=3))
finishes = st.builds(
    Finish,
    reason=st.sampled_from(["stop", "length", "abort", "error"]),
    matched=st.none() | ids | st.text(max_size=5),
    message=st.none() | st.text(max_size=5),
    param=st.none() | st.text(max_size=5),
    code=st.none() | st.text(max_size=5),
)
deltas = st.builds(TokenDelta, st.lists(ids, max_size=4), st.none() | finishes, ids, st.lists(logprobs, max_size=2))
rows = st.lists(st.tuples(st.text(max_size=8), deltas), max_size=5)
samplings = st.builds(
    SamplingParams,
    max_new_tokens=st.none() | ids,
    temperature=st.floats(0, 5),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.lists(st.text(max_size=4), max_size=3).map(tuple),
    stop_token_ids=st.lists(ids, max_size=3).map(tuple),
    ignore_eos=st.booleans(),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_commands_survive_the_wire(command: wire.Command) -> None:
    assert wire.decode_command(wire.encode(command)) == command


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_survive_the_wire(event: wire.Event) -> None:
    assert wire.decode_event(wire.encode(event)) == event


@given(rows)
def test_any_step_survives_the_wire(rows: list[tuple[str, TokenDelta]]) -> None:
    outputs = StepOutputs([name for name, _ in rows], [delta for _, delta in rows])
    assert wire.decode_event(wire.encode(outputs)) == outputs


@given(st.text(max_size=8), st.lists(ids, min_size=1, max_size=9), samplings)
def test_any_request_survives_the_wire(name: str, prompt: list[int], sampling: SamplingParams) -> None:
    request = GenerateRequest(request_id=name, prompt_ids=prompt, sampling=sampling)
    assert wire.decode_command(wire.encode(request)) == request


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_is_raised(frame: bytes) -> None:
    for decode in (wire.decode_command, wire.decode_event, wire.decode_setup):
        with pytest.raises(wire.WireError):
            decode(frame)


@pytest.mark.parametrize("frame", [wire.encode(event) for event in EVENTS] + [pickle.dumps(COMMANDS[0])])
def test_events_and_pickles_are_no_commands(frame: bytes) -> None:
    with pytest.raises(wire.WireError, match="not a command"):
        wire.decode_command(frame)


@pytest.mark.parametrize("frame", [wire.encode(command) for command in COMMANDS] + [pickle.dumps(INFO)])
def test_commands_and_pickles_are_no_events(frame: bytes) -> None:
    with pytest.raises(wire.WireError, match="not an event"):
        wire.decode_event(frame)


def test_no_module_of_the_server_imports_pickle() -> None:
    folder = Path(wire.__file__).parents[1]
    for file in folder.rglob("*.py"):
        assert "import pickle" not in file.read_text(), file


def test_the_setup_is_one_line() -> None:
    engine = EngineConfig(model_path="/m\nx", mem_fraction_static=0.5)
    log = LogConfig(level="debug", format="json", file="/l")
    setup = wire.WorkerSetup(engine=engine, folder="/f", commands="ipc://c", events="ipc://e", log=log)
    line = wire.encode_setup(setup)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode_setup(line) == setup


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ConfigError("a flag"), ConfigError, "a flag"),
        (ModelLoadError("a file"), ModelLoadError, "a file"),
        (ZeroDivisionError("oops"), EngineDeadError, "ZeroDivisionError: oops"),
    ],
)
def test_failures_keep_their_kind(error: Exception, kind: type[Exception], says: str) -> None:
    failed = wire.decode_event(wire.encode(wire.WorkerFailed.from_exception(error)))
    assert isinstance(failed, wire.WorkerFailed)
    arrived = failed.to_exception()
    assert type(arrived) is kind
    assert says in str(arrived)
