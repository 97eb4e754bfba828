"""Models from the hub: what is fetched, what is not, and what the user is told when it does not come."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from sgl_jax.engine.config import hub, model_files
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.hub import choose_files, fetch
from sgl_jax.engine.config.hub_id import HubModel, parse_hub_id
from sgl_jax.engine.config.model_source import local_model, local_tokenizer
from sgl_jax.engine.errors import ModelLoadError
from tools.fake_hub import FakeHub, Repo, fake_hub

TINY = HubModel("org/tiny")
FOREIGN = {
    "modeling_tiny.py": "raise SystemExit('code from a model ran')",
    "pytorch_model.bin": "a pickle",
    "consolidated.safetensors": "the same weights again",
    "README.md": "hello",
    "onnx/model.safetensors": "another form",
    "onnx/config.json": "{}",
}


@pytest.fixture
def server(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = tmp_path / "repo"
    shutil.copytree(tiny_folder, folder)
    for name, text in FOREIGN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    quantized = tmp_path / "quantized"
    quantized.mkdir()
    for name in ("tiny-Q4_0.gguf", "tiny-Q8_0.gguf", "big-00001-of-00002.gguf"):
        (quantized / name).write_bytes(name.encode())
    repos = {
        "org/tiny": Repo(folder, revisions=("main", "v1", "refs/pr/3")),
        "org/gated": Repo(folder, gated=True),
        "org/quantized": Repo(quantized),
    }
    with fake_hub(repos) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def complaint(model: HubModel, **options: object) -> str:
    with pytest.raises(ModelLoadError) as caught:
        fetch(model, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Qwen/Qwen3-0.6B", HubModel("Qwen/Qwen3-0.6B")),
        ("org/name-GGUF:name-Q4_0.gguf", HubModel("org/name-GGUF", "name-Q4_0.gguf")),
        ("org/name:sub/name.gguf", HubModel("org/name", "sub/name.gguf")),
        ("/models/qwen", None),
        ("./models/qwen", None),
        ("~/models", None),
        ("models/qwen/v3", None),
        ("qwen", None),
        ("org/name:other.bin", None),
        ("org/../etc", None),
        ("", None),
    ],
)
def test_what_looks_like_a_hub_id(path: str, expected: HubModel | None) -> None:
    assert parse_hub_id(path) == expected


def test_a_path_that_exists_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_hub_id("org/tiny") is None


def test_a_model_is_fetched_without_code_pickles_and_copies(server: FakeHub) -> None:
    folder = fetch(TINY)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not set(server.downloads) & set(FOREIGN)
    assert model_files.resolve(str(folder)).spec().architecture == "LlamaForCausalLM"


def test_a_second_start_fetches_nothing(server: FakeHub) -> None:
    first = fetch(TINY)
    server.downloads.clear()
    assert fetch(TINY) == first
    assert server.downloads == []


def test_the_text_side_takes_the_small_files_only(server: FakeHub) -> None:
    folder = fetch(TINY, texts_only=True)
    assert (folder / "tokenizer.json").is_file()
    assert "model.safetensors" not in server.downloads
    # The engine then fetches the rest into the same folder.
    assert fetch(TINY) == folder
    assert server.downloads.count("tokenizer.json") == 1
    assert server.downloads.count("model.safetensors") == 1


def test_dummy_weights_need_no_download_of_weights(server: FakeHub) -> None:
    fetch(TINY, load_format="dummy")
    assert "model.safetensors" not in server.downloads


def test_progress_is_told_in_megabytes_up_to_the_total(server: FakeHub) -> None:
    (server.repos["org/tiny"].folder / "model.safetensors").write_bytes(bytes(25_000_000))
    heard: list[tuple[int, int]] = []
    fetch(TINY, on_progress=lambda done, total: heard.append((done, total)))
    assert len({total for _, total in heard}) == 1
    assert heard == sorted(heard)
    assert heard[-1][0] >= 25
    assert heard[-1][0] <= heard[-1][1]


@pytest.mark.parametrize("revision", ["v1", "refs/pr/3"])
def test_a_revision(server: FakeHub, revision: str) -> None:
    assert (fetch(TINY, revision=revision) / "config.json").is_file()


def test_a_download_dir(server: FakeHub, tmp_path: Path) -> None:
    assert fetch(TINY, download_dir=str(tmp_path / "elsewhere")).is_relative_to(tmp_path / "elsewhere")


class TestGguf:
    def test_one_file_by_name(self, server: FakeHub) -> None:
        path = fetch(HubModel("org/quantized", "tiny-Q8_0.gguf"))
        assert path.read_bytes() == b"tiny-Q8_0.gguf"
        assert server.downloads == ["tiny-Q8_0.gguf"]

    def test_the_text_side_reads_it_from_the_same_file(self, server: FakeHub) -> None:
        assert fetch(HubModel("org/quantized", "tiny-Q8_0.gguf"), texts_only=True).suffix == ".gguf"

    def test_several_need_a_choice(self, server: FakeHub) -> None:
        text = complaint(HubModel("org/quantized"))
        assert "has 2 .gguf files" in text
        assert "--model-path: org/quantized:tiny-Q4_0.gguf, org/quantized:tiny-Q8_0.gguf" in text

    def test_a_name_that_is_not_there(self, server: FakeHub) -> None:
        text = complaint(HubModel("org/quantized", "tiny-Q2.gguf"))
        assert "no file 'tiny-Q2.gguf'" in text
        assert "org/quantized:tiny-Q4_0.gguf" in text

    def test_the_only_one_is_found(self) -> None:
        assert choose_files(TINY, ["a.gguf", "config.json", "README.md"], "auto") == ["a.gguf"]

    def test_the_load_format_decides_where_there_are_both(self) -> None:
        names = ["a.gguf", "config.json", "model.safetensors"]
        assert choose_files(TINY, names, "auto") == ["config.json", "model.safetensors"]
        assert choose_files(TINY, names, "gguf") == ["a.gguf"]


class TestOffline:
    def test_what_is_in_the_cache_is_used(self, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fetch(TINY)
        server.downloads.clear()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fetch(TINY) == folder
        assert fetch(TINY, texts_only=True) == folder
        assert server.downloads == []

    def test_a_cached_gguf_file_is_used(self, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        model = HubModel("org/quantized", "tiny-Q8_0.gguf")
        path = fetch(model)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fetch(model) == path
        assert fetch(HubModel("org/quantized")) == path  # the only one that is here

    def test_a_hub_in_trouble_is_like_none(self, server: FakeHub) -> None:
        folder = fetch(TINY)
        server.broken = True
        assert fetch(TINY) == folder

    def test_not_in_the_cache(self, server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        text = complaint(TINY)
        assert "HF_HUB_OFFLINE forbids" in text
        assert "hf download org/tiny" in text
        assert str(tmp_path / "cache") in text

    def test_a_cache_without_the_weights(self, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch(TINY, texts_only=True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "org/tiny" in complaint(TINY)

    def test_no_network(self, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        text = complaint(TINY)
        assert "could not be fetched from http://127.0.0.1:9" in text
        assert "give a local folder" in text


class TestRefusals:
    def test_not_found(self, server: FakeHub) -> None:
        text = complaint(HubModel("org/tyni"))
        assert "no folder 'org/tyni' here" in text
        assert "no model of that name on the hub" in text
        assert "HF_TOKEN" in text

    def test_gated(self, server: FakeHub) -> None:
        text = complaint(HubModel("org/gated"))
        assert f"accept its terms at {server.url}/org/gated" in text
        assert "HF_TOKEN" in text

    def test_an_unknown_revision(self, server: FakeHub) -> None:
        text = complaint(TINY, revision="v9")
        assert "no revision 'v9'" in text
        assert "--revision" in text

    def test_an_impossible_name(self, server: FakeHub) -> None:
        assert "possible hub id" in complaint(HubModel("org/--x--"))

    def test_a_disk_that_is_too_small(self, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: usage(10, 9, 1))
        text = complaint(TINY)
        assert "GB left" in text
        assert "--download-dir" in text
        assert server.downloads == []

    def test_a_folder_that_may_not_be_written(self, server: FakeHub, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        assert "org/tiny" in complaint(TINY, download_dir=str(tmp_path / "file"))

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["config.json", "pytorch_model.bin"], "only pickled ones"),
            (["config.json"], "no weights in safetensors form"),
            (["adapter_model.safetensors", "adapter_config.json"], "no weights in safetensors form"),
            (["m-00001-of-00002.gguf"], "no weights in safetensors form"),
        ],
    )
    def test_nothing_to_load(self, names: list[str], expected: str) -> None:
        with pytest.raises(ModelLoadError, match=expected):
            choose_files(TINY, names, "auto")


class TestConfig:
    def test_hub_ids_become_local_paths(self, server: FakeHub) -> None:
        config = EngineConfig(model_path="org/tiny", revision="v1")
        folder = local_model(config)
        assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
        assert local_tokenizer(config) == folder

    def test_the_tokenizer_may_come_from_another_model(self, server: FakeHub, tmp_path: Path) -> None:
        config = EngineConfig(model_path=str(tmp_path), tokenizer_path="org/tiny", load_format="gguf", revision="x")
        assert (local_tokenizer(config) / "tokenizer.json").is_file()

    def test_local_paths_stay(self, tmp_path: Path) -> None:
        assert local_model(EngineConfig(model_path=str(tmp_path))) == tmp_path
        assert local_model(EngineConfig(model_path="/no/such")) == Path("/no/such")
