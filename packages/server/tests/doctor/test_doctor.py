from __future__ import annotations

import io
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.cli import main
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.doctor import devices
from sgl_jax.server.doctor.command import doctor
from sgl_jax.server.doctor.devices import check_devices
from sgl_jax.server.doctor.finding import Finding
from sgl_jax.server.doctor.folders import check_folders
from sgl_jax.server.doctor.machine import check_machine
from sgl_jax.server.doctor.model import check_port
from sgl_jax.server.doctor.versions import check_versions
from tools.tiny_model import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=1, num_hidden_layers=1)


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX says that all is well, without being started."""
    report = devices._Report(jax="1.0", devices=["cpu:0"], chosen="cpu (cpu)")
    monkeypatch.setattr(devices, "_ask_jax", lambda device: report)


def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and findings."""
    output = io.StringIO()
    code = doctor(["--json", *arguments], output)
    return code, [json.loads(line) for line in output.getvalue().splitlines()]


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_healthy_machine(model: Path, no_jax: None) -> None:
    code, findings = run(f"--model-path={model}", "--port=0")
    assert code == 0
    assert not [finding for finding in findings if finding.get("grade") == "failure"]
    values = {finding["name"]: finding["value"] for finding in findings}
    assert "1 layers" in values[f"--model-path={model}"]
    for name in ("python", "jax", "cores", "memory", "open files", "--device=auto", "compiled steps", "sockets"):
        assert values[name]


def test_what_is_wrong_decides_the_exit_code_and_has_advice(
    tmp_path: Path, no_jax: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main(["doctor", f"--model-path={tmp_path}", "--port=0"]) == 1
    text = capsys.readouterr().out
    assert f"✗ --model-path={tmp_path}" in text
    assert "→ complete the download" in text
    assert "1 to repair" in text


def test_it_asks_the_real_jax(model: Path) -> None:
    code, findings = run(f"--model-path={model}", "--device=cuda", "--port=0")
    (found,) = (finding for finding in findings if finding["name"] == "--device=cuda")
    assert (code, found["grade"]) == (1, "failure")
    assert "JAX sees no such device" in found["value"]
    assert "sgl-jax-server[cuda" in found["advice"]


@pytest.mark.parametrize(
    ("program", "says"),
    [("raise SystemExit('no driver')", "exit code 1: no driver"), ("while True: pass", "not start")],
)
def test_a_jax_that_crashes_or_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch, program: str, says: str) -> None:
    real = subprocess.run

    def instead(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", program], **options)

    monkeypatch.setattr(devices.subprocess, "run", instead)
    monkeypatch.setattr(devices, "SECONDS", 1)
    monkeypatch.setattr(devices, "_nvidia_gpus", lambda: iter(()))
    (found,) = check_devices("cpu")
    assert found.grade == "failure"
    assert says in found.value


def nvidia_smi(folder: Path, cuda: str) -> None:
    """A driver's tool that shows one GPU."""
    tool = folder / "nvidia-smi"
    tool.write_text(
        f'#!/bin/sh\n[ $# = 0 ] && echo "CUDA Version: {cuda}" && exit\necho "NVIDIA X, 8000 MiB, 7000 MiB, 550.1"\n'
    )
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("cuda", "advice"), [("11.8", "CUDA 11 only"), ("12.4", "[cuda12]"), ("13.0", "[cuda13]"), ("14.1", "[cuda13]")]
)
def test_a_gpu_that_lies_idle_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_jax: None, cuda: str, advice: str
) -> None:
    nvidia_smi(tmp_path, cuda)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = by_name(check_devices("auto"))
    assert found["NVIDIA GPU"].value == "NVIDIA X, 7000 MiB free of 8000 MiB, driver 550.1"
    assert found["--device=auto"].grade == "warning"
    assert advice in (found["--device=auto"].advice or "")
    assert by_name(check_devices("cpu"))["--device=cpu"].grade == "ok"


def test_the_environment_for_jax_is_printed_for_a_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to='a folder'")
    assert main(["doctor", "--xla-flags", "--model-path=m", "--device=cpu", "--mem-fraction-static=0.5"]) == 0
    shown = subprocess.run(
        ["sh", "-c", f"{capsys.readouterr().out} env"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=0.5" in shown
    assert any(line.startswith("XLA_FLAGS=--xla_dump_to='a folder' --xla_cpu") for line in shown)


def test_what_goes_with_each_gpu_program_is_printed_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--xla-flags", "--model-path=m", "--device=cuda", "--tp-size=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("# ") and "--xla_gpu_enable_latency_hiding_scheduler=true" in line for line in lines)
    assert any(line.startswith("export XLA_FLAGS=") and "+COLLECTIVES" in line for line in lines)


def test_a_container_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("200000000\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    found = by_name(check_machine(tmp_path))
    assert "the container may use 0.5" in found["cores"].value
    assert "the container may take 0.1 GB more" in found["memory"].value
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert "container" not in " ".join(finding.value for finding in check_machine(tmp_path))


def test_few_open_files_are_few_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 524288))
    found = by_name(check_machine())["open files"]
    assert (found.grade, found.advice) == ("warning", "ulimit -n 65536 (systemd: LimitNOFILE=65536)")


def test_folders_are_measured(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "model").write_bytes(b"x" * 1_000_000)
    found = by_name(check_folders({"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "not" / "yet")}, str(hub)))
    assert "1 files, 1.0 MB" in found["models of the hub"].value
    assert "0 files" in found["compiled steps"].value
    (switched_off,) = (one for one in check_folders({"JAX_COMPILATION_CACHE_DIR": ""}) if one.grade == "warning")
    assert "every start compiles" in switched_off.value


def test_a_folder_that_cannot_be_written_is_a_failure() -> None:
    found = by_name(check_folders({"SGL_JAX_CACHE_DIR": "/proc/nowhere"}))["compiled steps"]
    assert found.grade == "failure"
    assert "SGL_JAX_CACHE_DIR" in (found.advice or "")


def test_ports_and_who_may_reach_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (found,) = check_port(ServerConfig(served_model_name="m", port=taken.getsockname()[1]))
        assert (found.grade, "is in use" in found.value) == ("warning", True)
    for key, grade in ((None, "warning"), ("secret", "ok")):
        (found,) = check_port(ServerConfig(served_model_name="m", host="0.0.0.0", port=0, api_key=key))
        assert found.grade == grade
        assert "secret" not in f"{found}"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgl_jax.server.doctor.versions.NEEDED", ("no-such-package",))
    found = by_name(check_versions())["no-such-package"]
    assert (found.value, found.grade) == ("not installed", "failure")


def test_without_any_model_the_rest_is_looked_at(monkeypatch: pytest.MonkeyPatch, no_jax: None) -> None:
    monkeypatch.setattr("sgl_jax.server.command_line.find_default_model", lambda: None)
    code, findings = run("--port=0")
    assert code == 0
    (found,) = (finding for finding in findings if finding["name"] == "model")
    assert "--model-path=FOLDER" in found["value"]


def test_flags_are_those_of_serve(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="Unknown flag --prot"):
        doctor(["--model-path=m", "--prot=1"])
    assert main(["doctor", "--prot=1"]) == 2
    assert "sgl-jax doctor: error: Unknown flag --prot" in capsys.readouterr().err
    assert main(["doctor", "--help"]) == 0
    assert "--xla-flags" in capsys.readouterr().out
