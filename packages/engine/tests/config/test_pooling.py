"""How a model pools, from the files that sentence-transformers leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.engine.config.pooling import Pooling, read_pooling
from sgl_jax.engine.errors import ModelLoadError

OLD_FLAGS = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_max_tokens": False}


def write(folder: Path, kinds: list[str], pooling: object = None) -> Path:
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": number, "path": paths.get(kind, kind), "type": f"sentence_transformers.some.place.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({**OLD_FLAGS, "pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({**OLD_FLAGS, "pooling_mode_mean_tokens": True}, "mean"),
        ({**OLD_FLAGS, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_each_method(tmp_path: Path, config: dict[str, Any], method: str) -> None:
    found = read_pooling(write(tmp_path, ["Transformer", "Pooling", "Normalize"], config), {})
    assert (found.method, found.normalize) == (method, True)


def test_a_folder_that_does_not_normalise(tmp_path: Path) -> None:
    folder = write(tmp_path, ["Transformer", "Pooling"], {**OLD_FLAGS, "pooling_mode_mean_tokens": True})
    assert read_pooling(folder, {}) == Pooling(method="mean", normalize=False)


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    assert read_pooling(tmp_path, {}) == Pooling(method="last", normalize=True)


@pytest.mark.parametrize(
    ("pooling", "said"),
    [
        ({**OLD_FLAGS, "pooling_mode_max_tokens": True}, "max_tokens"),
        ({**OLD_FLAGS, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "one of last, mean, cls"),
        ({**OLD_FLAGS, "pooling_mode_mean_tokens": True, "include_prompt": False}, "include_prompt"),
    ],
)
def test_what_is_not_done_is_named(tmp_path: Path, pooling: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        read_pooling(write(tmp_path, ["Transformer", "Pooling", "Normalize"], pooling), {})


def test_further_modules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="'Dense'"):
        read_pooling(write(tmp_path, ["Transformer", "Dense"]), {})


@pytest.mark.parametrize("config", [{"is_causal": False}, {"use_bidirectional_attention": True}])
def test_a_model_that_looks_ahead_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ModelLoadError, match="only causal ones"):
        read_pooling(tmp_path, config)


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ModelLoadError, match=r"modules\.json is not valid JSON"):
        read_pooling(tmp_path, {})
