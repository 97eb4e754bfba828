"""Which layers slide and which rotate, as configs of all ages say it."""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.registry import MODELS, model_class
from tools.tiny_model_architectures import ARCHITECTURES, BASE_CONFIG

SLIDING, FULL = "sliding_attention", "full_attention"


def spec_of(architecture, **fields):
    return ModelSpec.from_hf_config({**BASE_CONFIG, "architectures": [architecture], **fields})


def kinds_of(architecture, **fields):
    return model_class(architecture).layer_kinds(spec_of(architecture, num_hidden_layers=6, **fields))


def test_every_architecture_has_a_tiny_model():
    assert ARCHITECTURES.keys() == MODELS.keys()


def test_an_unknown_architecture_lists_the_known_ones():
    with pytest.raises(ModelLoadError, match=r"NopeForCausalLM.*LlamaForCausalLM.*Qwen3ForCausalLM"):
        model_class("NopeForCausalLM")


@pytest.mark.parametrize(
    ("architecture", "fields", "windows"),
    [
        ("LlamaForCausalLM", {"sliding_window": 8}, [None] * 6),
        ("MistralForCausalLM", {"sliding_window": 8}, [8] * 6),
        ("MistralForCausalLM", {"sliding_window": None}, [None] * 6),
        ("MistralForCausalLM", {}, [4096] * 6),
        ("Qwen2ForCausalLM", {"sliding_window": 8, "max_window_layers": 4}, [None] * 6),
        (
            "Qwen2ForCausalLM",
            {"sliding_window": 8, "max_window_layers": 4, "use_sliding_window": True},
            [None] * 4 + [8, 8],
        ),
        ("Gemma2ForCausalLM", {"sliding_window": 8}, [8, None] * 3),
        ("Gemma2ForCausalLM", {"sliding_window": 8, "layer_types": [FULL] * 5 + [SLIDING]}, [None] * 5 + [8]),
        ("Gemma3ForCausalLM", {"sliding_window": 8}, [8] * 5 + [None]),
        ("Gemma3ForCausalLM", {"sliding_window": 8, "sliding_window_pattern": 2}, [8, None] * 3),
        ("Cohere2ForCausalLM", {"sliding_window": 8}, [8, 8, 8, None, 8, 8]),
    ],
)
def test_windows(architecture, fields, windows):
    assert [kind.window for kind in kinds_of(architecture, **fields)] == windows


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("MistralForCausalLM", {"sliding_window": 0}, "sliding_window"),
        ("MistralForCausalLM", {"sliding_window": "wide"}, "sliding_window"),
        ("Gemma2ForCausalLM", {"sliding_window": None}, "sliding_window"),
        ("Gemma2ForCausalLM", {"layer_types": [FULL]}, "layer_types"),
        ("Gemma2ForCausalLM", {"layer_types": [FULL] * 5 + ["linear_attention"]}, "linear_attention"),
        ("SmolLM3ForCausalLM", {"no_rope_layers": [1]}, "no_rope_layers"),
    ],
)
def test_bad_configs_name_the_field(architecture, fields, message):
    with pytest.raises(ModelLoadError, match=message):
        kinds_of(architecture, **fields)


def test_layers_without_positions():
    assert [kind.rope for kind in kinds_of("SmolLM3ForCausalLM")] == [0, 0, 0, 1, 0, 0]
    assert [kind.rope for kind in kinds_of("SmolLM3ForCausalLM", no_rope_layers=[0, 1] * 3)] == [1, 0] * 3
    assert kinds_of("Cohere2ForCausalLM", sliding_window=8)[2:4] == (LayerKind(8, 0), LayerKind(None, 1))
    plain, none = model_class("SmolLM3ForCausalLM").ropes(spec_of("SmolLM3ForCausalLM"), 64)
    assert plain.frequencies.any()
    assert not none.frequencies.any()


def test_gemma3_bases_in_the_old_and_the_new_form():
    scaling = {"rope_type": "linear", "factor": 8.0}
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": scaling}
    new = {
        "rope_theta": None,
        "rope_parameters": {
            FULL: {**scaling, "rope_theta": 1e6},
            SLIDING: {"rope_type": "default", "rope_theta": 1e4},
        },
    }
    family = model_class("Gemma3ForCausalLM")
    ropes = [family.ropes(spec_of("Gemma3ForCausalLM", **fields), 64) for fields in (old, new)]
    exponent = np.arange(0, 16, 2) / 16
    for local, whole in ropes:
        np.testing.assert_allclose(local.frequencies, 1e4**-exponent, rtol=1e-6)
        np.testing.assert_allclose(whole.frequencies, 1e6**-exponent / 8, rtol=1e-6)


def test_silent_configs_mean_what_transformers_means():
    silent = {key: value for key, value in BASE_CONFIG.items() if key not in ("hidden_act", "head_dim", "rope_theta")}
    gemma = ModelSpec.from_hf_config({**silent, "architectures": ["Gemma3ForCausalLM"]})
    assert (gemma.tie_word_embeddings, gemma.hidden_act, gemma.head_dim) == (True, "gelu_pytorch_tanh", 256)
    assert gemma.rope.theta == 1e6
    assert not ModelSpec.from_hf_config({**silent, "architectures": ["LlamaForCausalLM"]}).tie_word_embeddings


def test_stablelm_says_what_it_lacks():
    family = model_class("StableLmForCausalLM")
    with pytest.raises(ModelLoadError, match="qk_layernorm"):
        family.Layer(spec_of("StableLmForCausalLM", qk_layernorm=True), dtype=np.dtype(np.float32))
