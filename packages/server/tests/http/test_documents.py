"""The README and the HTTP guide say what is there: every line to copy is tried, every route is listed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.server.command_line import parse_launch
from sgl_jax.server.flags import FLAGS
from sgl_jax.server.foreign_flags import NEUTRAL, REFUSED
from sgl_jax.server.unsupported import NEUTRAL as NEUTRAL_VALUES

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[4]
README = (ROOT / "packages/server/README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs/guides/http-api.md").read_text(encoding="utf-8")
SEARCH_GUIDE = (ROOT / "docs/guides/embeddings.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:30000"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The words of each command of the bash blocks that starts with `program`."""
    for block in blocks(text, "bash"):
        words = shlex.split(block.replace("\\\n", ""), comments=True)
        if words[0] == program:
            yield words[1:]


def to_request(words: list[str]) -> httpx.Request:
    """What curl would send."""
    method, headers, data, url = None, {}, None, ""
    remaining = iter(words)
    for word in remaining:
        match word:
            case "-X":
                method = next(remaining)
            case "-H":
                name, _, value = next(remaining).partition(": ")
                headers[name] = value
            case "-d":
                data = next(remaining)
            case _:
                url = word
    assert url.startswith(URL)
    return httpx.Request(method or ("GET" if data is None else "POST"), url, headers=headers, content=data)


@pytest.mark.parametrize(
    "words",
    [words for text in (README, GUIDE, SEARCH_GUIDE) for words in commands(text, "curl")],
    ids=lambda words: words[-1],
)
async def test_the_curl_lines_work(http: httpx.AsyncClient, engine: Any, words: list[str]) -> None:
    if words[0].rpartition("/")[2] in ("embeddings", "rerank"):
        engine.pooling = Pooling()
    stored = await http.post("/v1/responses", json={"input": "Hi"}) if "RESPONSE_ID" in words[-1] else None
    if stored is not None:
        words = [word.replace("RESPONSE_ID", stored.json()["id"]) for word in words]
    if words[-1].endswith("/stop_profile"):
        await http.post("/start_profile")
    answer = await http.send(to_request(words))
    assert answer.status_code == (400 if words[-1].endswith("/cancel") else 200), answer.text


async def test_the_guide_lists_every_route_once_with_its_curl_line(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/openapi.json")).json()
    routes = [f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods]
    sections = dict(re.findall(r"^### `([A-Z]+ /\S+)`\n(.*?)(?=^##|\Z)", GUIDE, flags=re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(routes)
    for name, section in sections.items():
        method, path = name.split(" ")
        (words,) = commands(section, "curl")
        request = to_request(words)
        assert request.method == method
        assert re.fullmatch(re.sub(r"\{\w+\}", ".+", path), request.url.path)


async def test_the_readme_lists_every_route(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/openapi.json")).json()
    section = README.split("\n## Routes\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`(?:[A-Z]+ )?(/[a-z]\S*)`", section)) - {"/docs"} == set(schema["paths"])


def test_the_readmes_python_works(
    make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], str], capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks(README, "python")
    names: dict[str, Any] = {}
    exec(compile(code.replace(URL, serve(make_app())), "README.md", "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out.count("Hello wörld!") == 2


def test_the_readmes_launch_commands_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server_config.yaml").write_text(blocks(README, "yaml")[0])
    launches = [words[1:] for words in commands(README, "sgl-jax") if words[0] == "serve"]
    launches += [words[3:] for words in commands(README, "python")]
    assert len(launches) == 3
    configs = [parse_launch(words) for words in launches]
    assert {config.server.served_model_name for config in configs} == {"qwen06b"}
    assert [(config.server.host, config.server.port) for config in configs if config.server.port != 30000] == [
        ("0.0.0.0", 8000)
    ]


async def test_the_readmes_error_is_a_real_one(http: httpx.AsyncClient) -> None:
    (shown,) = blocks(README, "json")
    answer = await http.post("/v1/completions", json={"prompt": "Hi", "temperature": -1})
    assert (answer.status_code, answer.json()) == (400, json.loads(shown))


def test_the_readmes_table_has_all_flags_by_group() -> None:
    section = README.split("\n## Flags\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (`--.*) \|$", section, flags=re.MULTILINE))
    shown = {group: re.findall(r"`--([a-z-]+)`", row) for group, row in rows.items()}
    expected: dict[str, list[str]] = {}
    for flag in FLAGS:
        expected.setdefault(flag.group, []).extend((flag.name, *flag.aliases, *dict(flag.shorthands)))
    assert shown == expected
    neutral = section.split("Taken without effect")[1]
    assert re.findall(r"`--([a-z-]+)`", neutral) == [entry.name for entry in NEUTRAL]


def test_what_the_readme_calls_missing_is_refused() -> None:
    section = README.split("\n## Not there yet\n")[1]
    flags, fields = section.split("- request fields:")
    names = {entry.name for entry in NEUTRAL} | set(REFUSED)
    assert set(re.findall(r"`--([a-z-]+)`", flags)) <= names
    fields = fields.split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", fields)) <= set(NEUTRAL_VALUES)


def test_every_flag_that_is_named_exists() -> None:
    known = {"help", "config", "flag", "no-flag", "no-deps"} | set(REFUSED)
    known |= {"json", "xla-flags"}  # of `sgl-jax doctor`
    for entry in (*FLAGS, *NEUTRAL):
        known |= {entry.name, *entry.aliases}
    known |= {name for flag in FLAGS for name, _ in flag.shorthands}
    known |= {f"no-{flag.name}" for flag in FLAGS if flag.kind is bool}
    assert set(re.findall(r"--([a-z][a-z-]*)", README + GUIDE)) <= known
