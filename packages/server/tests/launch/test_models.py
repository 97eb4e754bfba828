"""Where a served model comes from: the hub, or a folder that turns out to be bad."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tools.fake_hub import Repo, fake_hub


@pytest.mark.parametrize("flags", [[], ["--load-format=dummy"]], ids=["weights", "dummy"])
def test_a_model_from_the_hub(
    serve: Callable[..., Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    with fake_hub({"org/tiny": Repo(tiny_model, revisions=("main", "v1"))}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        cache = tmp_path / "cache"
        server = serve("--model-path=org/tiny", "--revision=v1", f"--download-dir={cache}", "--device=fake", *flags)
        url = server.wait_ready()
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "org/tiny"
        assert httpx.get(f"{url}/get_model_info").json()["model_path"] == "org/tiny"
        answer = httpx.post(f"{url}/v1/completions", json={"model": "org/tiny", "prompt": "Hi", "max_tokens": 2})
        assert answer.status_code == 200
    assert ("model.safetensors" in hub.downloads) is (flags == [])
    assert hub.downloads.count("tokenizer.json") == 1  # once for both processes
    assert next(cache.rglob("config.json")).is_file()


def test_a_model_that_the_hub_does_not_have(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        server = serve("--model-path=org/nothing")
        assert server.wait() == 1
    assert one_error(server.log) == "There is no folder 'org/nothing' here, and no model of that name on the hub"


def test_a_damaged_model(serve: Callable[..., Any], tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "bad")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    server = serve(f"--model-path={folder}", "--device=cpu")
    assert server.wait() == 1
    assert one_error(server.log).startswith(f"The model in {folder} cannot be loaded")
    assert "model.safetensors is incomplete or damaged" in server.log
    assert server.worker_is_gone()


def one_error(log: str) -> str:
    """The beginning of the only line of level ERROR."""
    assert "Traceback" not in log
    errors = re.findall(r"ERROR +\S+ (.*)", log)
    assert len(errors) == 1, log
    return str(errors[0]).partition(" (")[0]
