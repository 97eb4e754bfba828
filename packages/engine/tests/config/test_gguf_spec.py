"""GGUF metadata in the form of config.json."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.gguf_directory import GgufTensor
from sgl_jax.engine.config.gguf_spec import config_from_metadata, gguf_to_hf_config
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.rope_scaling import make_rope

PATH = Path("model.gguf")


def metadata(**changes: Any) -> dict[str, Any]:
    """Of a small llama; a dunder in a name stands for a dot, None removes the field."""
    fields = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.context_length": 1024,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 500000.0,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": 99,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return {key: value for key, value in fields.items() if value is not None}


def tensors(*more: str) -> dict[str, GgufTensor]:
    return {name: GgufTensor((100, 64), 0, 0) for name in ("token_embd.weight", *more)}


def convert(fields: dict[str, Any], *more: str) -> ModelSpec:
    return ModelSpec.from_hf_config(config_from_metadata(PATH, fields, tensors(*more)))


def test_a_llama() -> None:
    spec = convert(metadata())
    assert spec.architecture == "LlamaForCausalLM"
    assert (spec.num_layers, spec.hidden_size, spec.intermediate_size) == (2, 64, 96)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (4, 2, 16)
    assert spec.max_position_embeddings == 1024
    assert spec.norm_eps == 1e-5
    assert (spec.rope.theta, spec.rope.rotary_dim, spec.rope.scaling) == (500000.0, 16, None)
    assert spec.vocab_size == 100, "the embedding's rows count, not what the metadata says"
    assert (spec.bos_token_id, spec.eos_token_ids) == (1, (2,))


@pytest.mark.model
def test_smollm2() -> None:
    path = find_default_model()
    assert path is not None
    spec = ModelSpec.from_hf_config(gguf_to_hf_config(path))
    assert (spec.num_layers, spec.hidden_size, spec.vocab_size) == (30, 576, 49152)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (9, 3, 64)
    assert spec.tie_word_embeddings
    assert spec.eos_token_ids == (2, 0), "<|im_end|> as the file says, <|endoftext|> by its name"


def test_an_output_layer_means_untied_embeddings() -> None:
    assert convert(metadata()).tie_word_embeddings
    assert not convert(metadata(), "output.weight").tie_word_embeddings


def test_biases_are_seen_in_the_tensors() -> None:
    spec = convert(metadata(), "blk.0.attn_q.bias")
    assert (spec.attention_bias, spec.mlp_bias) == (True, False)


def test_every_end_token_counts_once() -> None:
    spec = convert(metadata(tokenizer__ggml__eot_token_id=7, tokenizer__ggml__eom_token_id=2))
    assert spec.eos_token_ids == (2, 7)


def test_control_tokens_that_end_a_turn_are_known_by_their_spelling() -> None:
    tokens = ["a", "<|end|>", "</s>", "<|end|>", "<end_of_turn>"]
    fields = metadata(tokenizer__ggml__tokens=tokens, tokenizer__ggml__token_type=[1, 3, 3, 1, 3])
    assert convert(fields).eos_token_ids == (2, 1, 4), "an ordinary token of that spelling is text"


def test_without_end_token() -> None:
    assert convert(metadata(tokenizer__ggml__eos_token_id=None)).eos_token_ids == ()


def test_an_explicit_head_dim_wins_over_the_quotient() -> None:
    assert convert(metadata(llama__attention__key_length=32, llama__rope__dimension_count=32)).head_dim == 32


def test_a_partial_rotation() -> None:
    spec = convert(metadata(llama__rope__dimension_count=8))
    assert (spec.head_dim, spec.rope.rotary_dim) == (16, 8)


def test_no_kv_head_count_means_multi_head_attention() -> None:
    assert convert(metadata(llama__attention__head_count_kv=None)).num_kv_heads == 4


def test_per_layer_lists_collapse_when_all_layers_agree() -> None:
    assert convert(metadata(llama__attention__head_count_kv=[2, 2])).num_kv_heads == 2
    with pytest.raises(ModelLoadError, match="differs between layers"):
        convert(metadata(llama__attention__head_count_kv=[2, 4]))


def test_linear_and_yarn_scaling() -> None:
    linear = {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0}
    scaling = convert(metadata(**linear)).rope.scaling
    assert scaling is not None
    assert (scaling["rope_type"], scaling["factor"]) == ("linear", 4.0)
    yarn = {
        "llama__rope__scaling__type": "yarn",
        "llama__rope__scaling__factor": 2.0,
        "llama__rope__scaling__original_context_length": 512,
    }
    scaling = convert(metadata(**yarn)).rope.scaling
    assert scaling is not None
    assert scaling["rope_type"] == "yarn"
    assert (scaling["factor"], scaling["original_max_position_embeddings"]) == (2.0, 512)
    assert convert(metadata(llama__rope__scaling__type="none")).rope.scaling is None


def rope_table(tmp_path: Path, values: Any) -> tuple[Path, dict[str, GgufTensor]]:
    path = tmp_path / "factors.bin"
    path.write_bytes(bytes(32) + struct.pack(f"<{len(values)}f", *values))
    return path, {**tensors(), "rope_freqs.weight": GgufTensor((len(values),), 0, 32)}


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_scaling_is_recovered_from_the_table_of_divisors(tmp_path: Path, factor: float) -> None:
    fields = metadata(llama__attention__key_length=128, llama__rope__dimension_count=128)
    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    base = {**config_from_metadata(PATH, fields, tensors()), "rope_scaling": None}
    plain = make_rope(ModelSpec.from_hf_config(base).rope, 512).frequencies
    scaled = make_rope(ModelSpec.from_hf_config({**base, "rope_scaling": scaling}).rope, 512).frequencies
    path, directory = rope_table(tmp_path, (plain / scaled).astype(np.float32).tolist())
    assert config_from_metadata(path, fields, directory)["rope_scaling"] == scaling


def test_an_unknown_table_of_divisors_is_refused(tmp_path: Path) -> None:
    path, directory = rope_table(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    with pytest.raises(ModelLoadError, match="no known scaling rule"):
        config_from_metadata(path, metadata(), directory)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (metadata(general__architecture="mamba"), "'mamba' is not supported; supported: llama"),
        (metadata(general__architecture=None), "None is not supported"),
        (
            metadata(llama__block_count=None, llama__attention__head_count=None),
            r"lacks llama\.block_count, llama\.attention\.head_count;",
        ),
        (metadata(llama__expert_count=8), "mixture-of-experts"),
        (metadata(llama__attention__head_count=0), "wrong type or size"),
        (metadata(llama__attention__head_count=[[4], [4]]), "wrong type or size"),
        (metadata(llama__rope__dimension_count="all"), "wrong type or size"),
        (metadata(tokenizer__ggml__eot_token_id=[7]), "wrong type or size"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelLoadError, match=words):
        convert(fields)


def test_no_embedding() -> None:
    with pytest.raises(ModelLoadError, match=r"token_embd\.weight"):
        config_from_metadata(PATH, metadata(), {})


def gemma(name: str, layers: int = 6, **changes: Any) -> dict[str, Any]:
    fields = {key.replace("llama.", f"{name}."): value for key, value in metadata(llama__block_count=layers).items()}
    own = {f"{name}.{key.replace('__', '.')}": value for key, value in changes.items()}
    return {**fields, "general.architecture": name, **own}


@pytest.mark.parametrize(("name", "largest"), [("gemma2", 46), ("gemma3", 62)])
def test_scores_of_gemma_are_scaled_by_the_head_except_in_the_largest(name: str, largest: int) -> None:
    key_length = {"attention__key_length": 32}
    assert convert(gemma(name, **key_length)).raw["query_pre_attn_scalar"] == 32
    assert convert(gemma(name, largest, **key_length)).raw["query_pre_attn_scalar"] == 64 // 4
    assert convert(gemma(name, attention__scale=0.25)).raw["query_pre_attn_scalar"] == 16


@pytest.mark.parametrize(
    ("pattern", "sliding"),
    [(None, None), (3, [1, 1, 0, 1, 1, 0]), (0, [1] * 6), ([True, False] * 3, [1, 0] * 3)],
)
def test_which_layers_of_gemma_slide(pattern: Any, sliding: list[int] | None) -> None:
    stated = {} if pattern is None else {"attention__sliding_window_pattern": pattern}
    types = convert(gemma("gemma3", **stated)).raw.get("layer_types")
    assert types == (sliding and ["sliding_attention" if slides else "full_attention" for slides in sliding])


def test_a_window_of_zero_is_none() -> None:
    fields = {key.replace("llama.", "phi3."): value for key, value in metadata().items()}
    fields |= {"general.architecture": "phi3", "phi3.attention.sliding_window": 0}
    assert convert(fields).raw["sliding_window"] is None
    assert convert({**fields, "phi3.attention.sliding_window": 2047}).raw["sliding_window"] == 2047


def test_a_damaged_table_of_divisors(tmp_path: Path) -> None:
    path, directory = rope_table(tmp_path, [1.0] * 8)
    for entry, words in (((GgufTensor((8,), 1, 32)), "vector of float32"), ((GgufTensor((8,), 0, 40)), "cut off")):
        with pytest.raises(ModelLoadError, match=words):
            config_from_metadata(path, metadata(), {**directory, "rope_freqs.weight": entry})
