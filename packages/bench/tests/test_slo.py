from __future__ import annotations

import pytest

from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.slo import Slo

RECORD = RequestRecord(0, sent=0.0, chunk_times=[0.25, 0.5, 1.5], end=2.0, output_tokens=3)


def test_objectives_are_read_and_shown() -> None:
    slo = Slo.parse("ttft:300ms, itl:50ms,e2e:2s")
    assert slo == Slo(ttft=0.3, itl=0.05, e2e=2.0)
    assert str(slo) == "TTFT 300 ms, ITL 50.0 ms, E2E 2,000 ms"


@pytest.mark.parametrize("text", ["", "ttft", "ttft=300ms", "speed:1s", "ttft:soon", "ttft:1s,ttft:2s", "ttft:1s,"])
def test_what_is_no_objective_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"objective|duration|two limits"):
        Slo.parse(text)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("ttft:250ms", True),
        ("ttft:249ms", False),
        ("itl:1s", True),
        ("itl:0.9s", False),
        ("tpot:875ms", True),
        ("tpot:800ms", False),
        ("e2e:2s,ttft:1s", True),
        ("e2e:1s,ttft:1s", False),
    ],
)
def test_every_limit_must_be_kept(text: str, met: bool) -> None:
    assert Slo.parse(text).met_by(RECORD) is met


def test_a_failed_request_is_never_good() -> None:
    failed = RequestRecord(0, sent=0.0, end=0.1, failure=RequestFailure("timeout", "slow"))
    assert not Slo(e2e=10.0).met_by(failed)


def test_what_has_no_value_breaks_no_limit() -> None:
    assert Slo(ttft=0.1, tpot=0.1, itl=0.1).met_by(RequestRecord(0, sent=0.0, end=1.0))
