"""Every kind of workload, through the specs that a user writes."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import RequestSpec, Workload
from sgl_jax.bench.workload.specs import KINDS, Defaults, workload_of

SHAREGPT = [
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    {
        "id": "2",
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "One"},
            {"from": "gpt", "value": "1"},
            {"from": "human", "value": "Two"},
            {"from": "human", "value": " "},
            {"from": "user", "value": "Three"},
        ],
    },
    {"conversations": [{"from": "gpt", "value": "nobody asked"}]},
    "no conversation",
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    Path("lines.jsonl").write_text('{"prompt": "one", "max_tokens": 5}\n{"input_len": 3}\n', encoding="utf-8")
    Path("chats.json").write_text(json.dumps(SHAREGPT), encoding="utf-8")
    Path("schema.json").write_text('{"type": "object"}', encoding="utf-8")


def _make(*specs: str, seed: int | None = 1, max_tokens: int = 16) -> Workload:
    return workload_of(specs, Defaults(max_tokens, seed))


def _take(workload: Workload, number: int) -> list[RequestSpec]:
    return list(islice(workload.requests(), number))


def _plain(spec: RequestSpec) -> Any:
    return spec.index, spec.messages, spec.max_tokens, spec.extra


SPECS = [
    "questions",
    "numbered",
    "prompts,file=prompts.txt",
    "jsonl,file=lines.jsonl",
    "sharegpt,file=chats.json,turns=all,pause=10ms",
    "synthetic,input=uniform:5:9,output=4",
    "shared-prefix,groups=2,prefix=20,input=5,output=lognormal:4:0.1",
    "conversations,turns=uniform:2:3,input=5,output=4,pause=1s",
    "structured",
]


def test_every_kind_is_tried_here() -> None:
    assert [spec.partition(",")[0] for spec in SPECS] == list(KINDS)


@pytest.mark.parametrize("spec", SPECS)
def test_a_workload_is_endless_numbered_and_the_same_each_time(spec: str) -> None:
    workload = _make(spec)
    first, again = _take(workload, 20), _take(_make(spec), 20)
    assert [request.index for request in first] == list(range(20))
    assert [_plain(request) for request in first] == [_plain(request) for request in again]
    assert [_plain(request) for request in first] == [_plain(request) for request in _take(workload, 20)]
    assert all(request.messages and request.as_text() and request.max_tokens >= 1 for request in first)
    assert workload.name


def test_another_seed_draws_other_requests() -> None:
    one, other = (_take(_make("synthetic,input=20", seed=seed), 3) for seed in (1, 2))
    assert [each.as_text() for each in one] != [each.as_text() for each in other]


def test_synthetic_prompts_have_their_lengths_and_share_no_beginning() -> None:
    requests = _take(_make("synthetic,input=uniform:50:60,output=7"), 30)
    assert all(50 <= len(request.as_text().split()) <= 60 for request in requests)
    assert {request.max_tokens for request in requests} == {7}
    assert len({request.as_text()[:40] for request in requests}) == 30


def test_shared_prefixes_are_shared() -> None:
    requests = _take(_make("shared-prefix,groups=3,prefix=40,input=5"), 60)
    prefixes = Counter(request.messages[0].content for request in requests)
    assert len(prefixes) == 3
    assert all(len(prefix.split()) == 40 for prefix in prefixes)
    assert len({request.messages[1].content for request in requests}) == 60
    assert {request.max_tokens for request in requests} == {16}


def test_a_conversation_grows_by_the_real_answers() -> None:
    request = _take(_make("conversations,turns=3,input=5,output=4,pause=1s"), 1)[0]
    pauses, history = [request.pause], [request.messages]
    while request.next_turn is not None:
        request = request.next_turn(f"answer {request.turn}")
        pauses.append(request.pause)
        history.append(request.messages)
    assert pauses == [0.0, 1.0, 1.0]
    assert [message.role for message in history[-1]] == ["user", "assistant", "user", "assistant", "user"]
    assert [message.content for message in history[-1][1::2]] == ["answer 0", "answer 1"]
    assert history[-1][:3] == history[1]


def test_sharegpt_sends_what_users_said() -> None:
    texts = [request.as_text() for request in _take(_make("sharegpt,file=chats.json", seed=None), 3)]
    assert texts == ["Hi", "One", "Hi"]
    request = _take(_make("sharegpt,file=chats.json,turns=2", seed=None), 2)[1]
    assert request.next_turn is not None
    second = request.next_turn("eins")
    assert [message.content for message in second.messages] == ["One", "eins", "Two"]
    assert second.next_turn is None


def test_structured_output_asks_for_its_schema_on_every_turn() -> None:
    built_in = _take(_make("structured"), 1)[0].extra["response_format"]
    assert built_in["type"] == "json_schema"
    assert built_in["json_schema"]["schema"]["required"]
    own = _take(_make("structured,schema=schema.json"), 1)[0].extra["response_format"]
    assert own["json_schema"]["schema"] == {"type": "object"}


def test_a_mix_keeps_its_weights_and_names_its_parts() -> None:
    workload = _make("synthetic,input=5,output=4,weight=3", "conversations,turns=2,input=5,output=4")
    requests = _take(workload, 400)
    parts = Counter(str(request.workload).partition(" ")[0] for request in requests)
    assert parts["synthetic,"] == pytest.approx(300, abs=40)
    assert [request.index for request in requests] == list(range(400))
    request = next(each for each in requests if each.next_turn)
    assert request.next_turn is not None
    following = request.next_turn("yes")
    assert (following.index, following.workload, following.turn) == (request.index, request.workload, 1)
    assert "3 x synthetic" in workload.name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("poems", "there is no kind 'poems'; there are questions, numbered"),
        ("synthetic,length=5", "synthetic takes input, output, weight"),
        ("synthetic,input", "should be NAME=VALUE"),
        ("synthetic,input=many", "input: 'many' is no length"),
        ("synthetic,weight=0", "must be above 0"),
        ("sharegpt,file=chats.json,turns=none", "turns: 'none' is not a whole number"),
        ("sharegpt", "name the file, as in sharegpt,file="),
        ("sharegpt,file=absent.json", "cannot read ShareGPT file absent.json"),
        ("sharegpt,file=prompts.txt", "prompts.txt is not JSON"),
        ("sharegpt,file=schema.json", "is not a list of conversations"),
        ("structured,schema=chats.json", "JSON schema chats.json is not an object"),
        ("jsonl,file=prompts.txt", "prompts.txt, line 1: "),
    ],
)
def test_a_workload_that_cannot_be_had_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(WorkloadError) as error:
        _make(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
