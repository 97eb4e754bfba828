"""What a user imports from `sgl_jax.bench`, and nothing more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path

import pytest

import sgl_jax.bench
from sgl_jax.bench import BenchError, MockBehaviour, Results, Slo, closed_loop, compare, mock_server, open_loop
from sgl_jax.bench.mock.server import MockServer
from sgl_jax.bench.workload.builtin import NumberedQuestion

StartMock = Callable[[MockBehaviour], MockServer]
INSTANT = MockBehaviour(ttft=0.0, itl=0.0)


def test_the_public_surface_is_small_and_all_there() -> None:
    assert sgl_jax.bench.__all__ == [
        "BenchError",
        "Comparison",
        "MockBehaviour",
        "MockServer",
        "Results",
        "Slo",
        "Summary",
        "closed_loop",
        "compare",
        "mock_server",
        "open_loop",
    ]
    for name in sgl_jax.bench.__all__:
        assert getattr(sgl_jax.bench, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sgl_jax.bench.nothing


def test_types_are_told_to_users() -> None:
    source = Path(sgl_jax.bench.__file__).parent
    assert (source / "py.typed").is_file()
    assert files("sgl-jax-bench") is not None


def test_importing_it_is_light() -> None:
    program = (
        "import sys, sgl_jax.bench as b; [getattr(b, n) for n in ('closed_loop', 'Results', 'Slo', 'MockServer')];"
        "heavy = {'pandas', 'numpy', 'matplotlib', 'rich', 'httpx', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_loop_from_python(start_mock: StartMock, tmp_path: Path) -> None:
    results = closed_loop(
        start_mock(INSTANT).url,
        concurrent=2,
        requests=6,
        workload=["synthetic,input=5,output=3", "questions"],
        max_tokens=3,
        seed=1,
        slo="e2e:60s",
        api_key="sk-secret",
    )
    assert results.summary.successful_requests == 6
    assert results.summary.total_tokens_generated == 18
    assert results.summary.goodput is not None
    assert results.summary.goodput.share == 100.0
    assert "sk-secret" not in str(results.to_json())
    results.write(tmp_path / "results.json")
    assert compare(Results.read(tmp_path / "results.json"), results).ok


def test_an_open_loop_from_python(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(INSTANT)
    results = open_loop(
        server.url, rate=50, duration=0.1, workload=NumberedQuestion(2), slo=Slo(ttft=60.0), progress=True
    )
    assert results.summary.total_requests == len(server.log) == 5
    assert results.strategy == {"kind": "constant", "rate": 50}
    assert "Starting load test" in capsys.readouterr().err


def test_mistakes_are_errors_of_ours() -> None:
    with pytest.raises(BenchError, match="cannot reach a server"):
        closed_loop("http://127.0.0.1:1")
    with pytest.raises(BenchError, match="there is no kind"):
        closed_loop("http://127.0.0.1:1", workload="poems")
    with pytest.raises(BenchError, match="at least one spec"):
        closed_loop("http://127.0.0.1:1", workload=[])
    with pytest.raises(ValueError, match="is no objective"):
        closed_loop("http://127.0.0.1:1", slo="fast")
    with pytest.raises(TypeError, match="no option speed"):
        closed_loop("http://127.0.0.1:1", speed=5)  # type: ignore[call-arg]


def test_a_mock_server_runs_beside_the_caller() -> None:
    with mock_server() as server:
        assert closed_loop(server.url, requests=1, max_tokens=1).summary.successful_requests == 1
    with pytest.raises(BenchError):
        closed_loop(server.url)
