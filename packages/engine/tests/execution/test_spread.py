"""Shares of whole families: what each device gets of each parameter, found without a device."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.attention import backends
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.build import step_model
from sgl_jax.engine.execution.spread import all_shapes, check_packings, find_splits
from sgl_jax.engine.execution.step import StepModel
from sgl_jax.engine.parallel.share import share_of
from sgl_jax.engine.parallel.split import cut
from sgl_jax.engine.quantization.formats import INT8, Q4_1
from tools.tiny_model import tiny_config
from tools.tiny_model_architectures import ARCHITECTURES

CONFIG = EngineConfig(model_path="m")
COLUMNS = {"qkv_proj", "gate_up_proj", "q_proj", "q_b_proj", "k_up", "v_up", "sinks", "embed_tokens", "lm_head"}
ROWS = {"o_proj", "down_proj"}


def models(architecture: str, count: int) -> tuple[ModelSpec, ModelSpec, StepModel, StepModel]:
    spec = ModelSpec.from_hf_config(tiny_config(architecture, tie=False, dtype="float32", num_hidden_layers=2))
    share = share_of(spec, count)
    options = CONFIG, spec, jnp.dtype(jnp.float32), 128, backends.XLA
    return spec, share, step_model(*options, on_cpu=True), step_model(*options, on_cpu=True, share=share)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_matrices_are_cut_and_the_rest_is_not(architecture: str) -> None:
    spec, share, whole, model = models(architecture, 2)
    splits, shapes, own = find_splits(whole, model, (spec, share)), all_shapes(whole), all_shapes(model)
    assert splits.keys() == own.keys()
    for name, split in splits.items():
        modules = set(name.split("."))
        if split is not None:
            assert cut(np.zeros(shapes[name], np.int8), split, 1, 2).shape == own[name]
            expected = COLUMNS | ({"q_norm", "k_norm"} if architecture == "Olmo2ForCausalLM" else set())
            is_row = split.axis == -1 and not name.endswith((".bias", "sinks", "norm.weight"))
            assert modules & (ROWS if is_row else expected), name
        else:
            assert not modules & COLUMNS or "shared_expert_gate" in modules, name
            assert not modules & ROWS or name.endswith(".bias"), name


def test_packed_matrices_are_cut_between_groups() -> None:
    _, _, whole, model = models("Qwen3MoeForCausalLM", 2)
    paths = dict.fromkeys(["self_attn.o_proj.weight", "mlp.experts.down_proj.weight"], INT8)
    check_packings(whole, model, paths, 2)
    with pytest.raises(ConfigError, match=r"--tp-size=2: mlp.experts.down_proj.weight has rows of 48 values"):
        check_packings(whole, model, {"mlp.experts.down_proj.weight": Q4_1}, 2)
