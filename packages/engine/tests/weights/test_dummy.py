"""Made-up weights: the right shapes, sane values, and an engine that runs on nothing but a config."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.quantization.formats import FORMATS, PackFormat
from sgl_jax.engine.quantization.matrix import unpack
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.weights.dummy import dummy_params
from sgl_jax.engine.weights.loader import ParamRecipe

RECIPES = {
    "model.embed_tokens.weight": ParamRecipe((("e",),), (32, 64)),
    "model.layers.*.self_attn.qkv_proj.weight": ParamRecipe((("q", "k"), ("q", "k")), (2, 96, 64), stacked=True),
    "model.layers.*.self_attn.qkv_proj.bias": ParamRecipe((("b",), ("b",)), (2, 96), stacked=True),
    "model.layers.*.input_layernorm.weight": ParamRecipe((("n",), ("n",)), (2, 64), stacked=True),
    "model.norm.weight": ParamRecipe((("n",),), (64,)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shapes_and_values(dtype: jnp.dtype) -> None:
    heard: list[tuple[int, int]] = []
    made = dummy_params(
        RECIPES, jnp.dtype(dtype), jax.devices()[0], on_progress=lambda done, total: heard.append((done, total))
    )
    assert {name: array.shape for name, array in made.items()} == {name: r.shape for name, r in RECIPES.items()}
    assert {array.dtype for array in made.values()} == {jnp.dtype(dtype)}
    values = {name: np.asarray(array, np.float32) for name, array in made.items()}
    assert (values["model.norm.weight"] == 1).all()
    assert (values["model.layers.*.input_layernorm.weight"] == 1).all()
    assert (values["model.layers.*.self_attn.qkv_proj.bias"] == 0).all()
    matrix = values["model.layers.*.self_attn.qkv_proj.weight"]
    assert abs(matrix.std() * 8 - 1) < 0.1  # a variance of 1/64
    assert not (matrix[0] == matrix[1]).all()
    assert heard == [(count, len(RECIPES)) for count in range(1, len(RECIPES) + 1)]


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_packed_parameters_are_made_packed(form: PackFormat) -> None:
    recipe = ParamRecipe((("w",),), (64, 128), packing=form)
    made = dummy_params({"w": recipe}, jnp.dtype(jnp.float32), jax.devices()[0])
    found = {name: (array.shape, np.dtype(array.dtype)) for name, array in made.items()}
    assert list(found.items()) == [(f"w.{part}", expected) for part, expected in form.parts(recipe.shape).items()]
    values = np.asarray(unpack({name.removeprefix("w."): array for name, array in made.items()}, form))
    assert abs(values.std() * 128**0.5 - 1) < 0.2  # a variance of 1/128
    assert abs(values.mean()) < 0.02


def test_the_seed_decides() -> None:
    name = "model.embed_tokens.weight"
    made = [dummy_params(RECIPES, jnp.dtype(jnp.float32), jax.devices()[0], seed=seed) for seed in (1, 1, 2)]
    one, same, other = (np.asarray(params[name]) for params in made)
    assert (one == same).all()
    assert not (one == other).any()


def test_an_engine_runs_on_a_config_alone(tiny_folder: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text()) | {"vocab_size": 700, "eos_token_id": None}
    config["max_position_embeddings"] = 2**31 - 1  # what a request may need is bounded by the pool, and so is memory
    (tmp_path / "config.json").write_text(json.dumps(config))
    limits = {"max_total_tokens": 128, "max_running_requests": 1, "chunked_prefill_size": 16, "skip_warmup": True}
    with Engine(tmp_path, load_format="dummy", device="cpu", **limits) as engine:
        sampling = SamplingParams(temperature=1.0, seed=3, max_new_tokens=12)
        first = engine.chat([{"role": "user", "content": "é"}], sampling)
        assert first.prompt_tokens == len("user: é\nassistant: ".encode())
        assert len(set(first.token_ids)) > 4  # no collapse into one token
        # Every token has a text, so that a stream shows that it moves.
        assert all(engine.tokenizer.decode([index]) for index in range(700))
        assert engine.chat([{"role": "user", "content": "é"}], sampling).text == first.text
