"""Our vectors and label probabilities are those of transformers, however the texts are computed.

Goldens are written by tools/oracle_embeddings.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from sgl_jax.engine.completion import Embedding
from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.sampling_params import SamplingParams
from tests.parity.conftest import read_golden

TOLERANCE = 1e-4
SHAPES = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (48,)}
OPTIONS = {"max_total_tokens": 512, "max_running_requests": 4, "chunked_prefill_size": 48, **SHAPES}


def make(tiny_model: ModuleType, golden: dict[str, Any], folder: Path) -> Path:
    path: Path = tiny_model.make_tiny_model(folder, **golden["model"]["arguments"])
    digest = golden["model"]["digest"]
    assert tiny_model.tiny_digest(path) == digest, "tools/tiny_model.py writes other weights: run the oracle"
    return path


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def without_head(folder: Path) -> None:
    """Saves it as Qwen3-Embedding is: the inner module alone, so that names lack their prefix."""
    tensors = load_file(folder / "model.safetensors")
    named = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if not name.startswith("lm_head")}
    save_file(named, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "architectures": ["Qwen3Model"]})


def add_mean_pooling(folder: Path) -> None:
    """What sentence-transformers leaves in a folder."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    write_json(folder / "modules.json", modules)
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 64, **modes})


def embedder(folder: Path) -> Engine:
    return Engine(folder, device="cpu", dtype="float32", is_embedding=True, skip_warmup=True, **OPTIONS)


@pytest.fixture(scope="module")
def qwen3() -> dict[str, Any]:
    return read_golden("embeddings/qwen3")


@pytest.fixture(scope="module")
def llama() -> dict[str, Any]:
    return read_golden("embeddings/llama_gqa")


@pytest.fixture(scope="module")
def last(tiny_model: ModuleType, qwen3: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = make(tiny_model, qwen3, tmp_path_factory.mktemp("last"))
    without_head(folder)
    with embedder(folder) as engine:
        yield engine


@pytest.fixture(scope="module")
def mean(tiny_model: ModuleType, llama: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = make(tiny_model, llama, tmp_path_factory.mktemp("mean"))
    add_mean_pooling(folder)
    with embedder(folder) as engine:
        yield engine


@pytest.fixture(scope="module")
def generator(
    tiny_model: ModuleType, qwen3: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = make(tiny_model, qwen3, tmp_path_factory.mktemp("generator"))
    with Engine(folder, device="cpu", dtype="float32", skip_warmup=True, **OPTIONS) as engine:
        yield engine


def prompts(golden: dict[str, Any]) -> list[list[int]]:
    return [case["prompt_ids"] for case in golden["cases"]]


def vectors(found: Sequence[Embedding]) -> list[npt.NDArray[np.float32]]:
    return [embedding.vector for embedding in found]


@pytest.mark.parametrize(("method", "name"), [("last", "qwen3"), ("mean", "llama")])
def test_vectors(method: str, name: str, request: pytest.FixtureRequest) -> None:
    """All together (the longest in chunks), then each alone."""
    engine, golden = request.getfixturevalue(method), request.getfixturevalue(name)
    expected = [case[method] for case in golden["cases"]]
    together = engine.embed(prompt_ids=prompts(golden))
    np.testing.assert_allclose(vectors(together), expected, rtol=0, atol=TOLERANCE)
    alone = [engine.embed(prompt_ids=[prompt])[0] for prompt in prompts(golden)]
    np.testing.assert_allclose(vectors(alone), expected, rtol=0, atol=TOLERANCE)
    assert [found.prompt_tokens for found in together] == [len(prompt) for prompt in prompts(golden)]


def test_the_last_token_needs_no_cached_prefix_to_be_computed_again(last: Engine, qwen3: dict[str, Any]) -> None:
    prompt, expected = qwen3["cases"][-1]["prompt_ids"], qwen3["cases"][-1]["last"]
    last.embed(prompt_ids=[prompt])
    (again,) = last.embed(prompt_ids=[prompt])
    assert again.cached_tokens == len(prompt) - 2
    np.testing.assert_allclose(again.vector, expected, rtol=0, atol=TOLERANCE)


def test_a_mean_is_of_all_tokens(mean: Engine, llama: dict[str, Any]) -> None:
    prompt = llama["cases"][-1]["prompt_ids"]
    first, again = (mean.embed(prompt_ids=[prompt])[0] for _ in range(2))
    assert again.cached_tokens == 0
    np.testing.assert_array_equal(again.vector, first.vector)


def test_fewer_dimensions(last: Engine, qwen3: dict[str, Any]) -> None:
    (short,) = last.embed(prompt_ids=prompts(qwen3)[:1], dimensions=16)
    expected = np.asarray(qwen3["cases"][0]["last"][:16])
    np.testing.assert_allclose(short.vector, expected / np.linalg.norm(expected), rtol=0, atol=TOLERANCE)
    for dimensions in (0, 65):
        with pytest.raises(InvalidRequestError, match="dimensions must lie in"):
            last.embed(prompt_ids=prompts(qwen3)[:1], dimensions=dimensions)


def test_texts(last: Engine) -> None:
    texts = ["Hello, world!", "grüße 🙂"]
    found = last.embed(texts)
    same = last.embed(prompt_ids=[last.tokenizer.encode(text) for text in texts])
    np.testing.assert_allclose(vectors(found), vectors(same), rtol=0, atol=TOLERANCE)  # the latter from the cache


def test_chosen_tokens(generator: Engine, qwen3: dict[str, Any]) -> None:
    """Of a prompt, then of every token of an answer and of the prompt behind it."""
    labels = tuple(qwen3["cases"][0]["labels"])
    params = SamplingParams(max_new_tokens=1, temperature=0, logprobs=0, token_ids_logprob=labels)
    plain = SamplingParams(max_new_tokens=6, temperature=0, ignore_eos=True)
    found = generator.generate(prompt_ids=prompts(qwen3) * 2, sampling=[params] * 3 + [plain] * 3)
    expected = [case["among_all"] for case in qwen3["cases"]]
    chosen = np.exp([answer.logprobs[0].chosen for answer in found[:3]])
    np.testing.assert_allclose(chosen, expected, rtol=1e-3, atol=1e-6)
    among = chosen / chosen.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(among, [case["among_labels"] for case in qwen3["cases"]], rtol=0, atol=TOLERANCE)

    asking = SamplingParams(
        max_new_tokens=6, temperature=0, ignore_eos=True, logprobs=0, prompt_logprobs=0, token_ids_logprob=labels
    )
    (answer,) = generator.generate(prompt_ids=prompts(qwen3)[1:2], sampling=asking)
    assert answer.token_ids == found[4].token_ids
    assert [len(entry.chosen) for entry in answer.prompt_logprobs] == [2] * 19
    whole = prompts(qwen3)[1] + answer.token_ids
    (scored,) = generator.generate(prompt_ids=[whole], sampling=asking)
    said = [entry.chosen for entry in answer.prompt_logprobs + answer.logprobs]
    np.testing.assert_allclose([entry.chosen for entry in scored.prompt_logprobs], said, rtol=0, atol=TOLERANCE)


def test_an_engine_does_one_of_both(generator: Engine, last: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="start it with --is-embedding"):
        generator.embed(prompt_ids=[[1, 2]])
    with pytest.raises(InvalidRequestError, match="start it without --is-embedding"):
        last.generate(prompt_ids=[[1, 2]])
    with pytest.raises(InvalidRequestError, match="at most 512 are embedded"):
        last.embed(prompt_ids=[[3] * 513])
    with pytest.raises(InvalidRequestError, match="token_ids_logprob"):
        generator.generate(prompt_ids=[[1]], sampling=SamplingParams(token_ids_logprob=(1,)))
