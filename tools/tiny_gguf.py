"""Writes a tiny Hugging Face model as the GGUF file that llama.cpp's converter would make of it.

    python -m tools.tiny_gguf /some/folder model.gguf --kind Q8_0

For tests: tensor names come from the gguf package's own tables, and what the converter does to tensors and
metadata of each family is written down here once more, from its side. Read `tiny_model` first.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import load_file

Array = npt.NDArray[Any]
KindOf = Callable[[str], GGMLQuantizationType | None]
"""GGUF tensor name -> how to store a matrix; None for float32."""

ARCHITECTURES = {
    "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA,
    "Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2,
    "Qwen3ForCausalLM": gguf.MODEL_ARCH.QWEN3,
    "GemmaForCausalLM": gguf.MODEL_ARCH.GEMMA,
    "Gemma2ForCausalLM": gguf.MODEL_ARCH.GEMMA2,
    "Gemma3ForCausalLM": gguf.MODEL_ARCH.GEMMA3,
    "Phi3ForCausalLM": gguf.MODEL_ARCH.PHI3,
}


def write_tiny_gguf(folder: str | Path, path: str | Path, kind_of: KindOf = lambda name: None) -> Path:
    """Converts a folder of `make_tiny_model`.

    Args:
        folder: with float32 weights in one file.
        path: the file to write.
        kind_of: how to quantize which matrix.

    Returns:
        The path.
    """
    folder, path = Path(folder), Path(path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arch = ARCHITECTURES[config["architectures"][0]]
    writer = GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    _write_fields(writer, arch, config)
    _write_tokenizer(writer, folder, config)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for hf_name, values in load_file(folder / "model.safetensors").items():
        name = names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
        assert name is not None, hf_name
        kind = kind_of(name) if values.ndim == 2 else None
        converted = _converted(arch, config, hf_name, values)
        writer.add_tensor(name, converted if kind is None else gguf.quantize(converted, kind), raw_dtype=kind)
    for name, table in _rope_tables(config).items():
        writer.add_tensor(name, np.asarray(table, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _converted(arch: gguf.MODEL_ARCH, config: dict[str, Any], name: str, values: Array) -> Array:
    """What is stored in place of a checkpoint's tensor."""
    module = name.split(".")[-2]
    if arch == gguf.MODEL_ARCH.LLAMA and module in ("q_proj", "k_proj"):
        heads = config["num_attention_heads" if module == "q_proj" else "num_key_value_heads"]
        return np.concatenate([_interleaved(head) for head in np.split(values, heads)])
    if "GEMMA" in arch.name and module.endswith("norm"):
        return values + np.float32(1)
    return values


def _interleaved(rows: Array) -> Array:
    """Rows of one head: row i of the first half, row i of the second half, and so on."""
    first, second = np.split(rows, 2)
    return np.stack([first, second], axis=1).reshape(rows.shape)


def _write_fields(writer: GGUFWriter, arch: gguf.MODEL_ARCH, config: dict[str, Any]) -> None:
    head_dim = config["head_dim"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if arch not in (gguf.MODEL_ARCH.GEMMA, gguf.MODEL_ARCH.GEMMA2):
        writer.add_rope_freq_base(config["rope_theta"])
    if arch in (gguf.MODEL_ARCH.LLAMA, gguf.MODEL_ARCH.PHI3):
        writer.add_rope_dimension_count(int(head_dim * config.get("partial_rotary_factor", 1.0)))
    if arch != gguf.MODEL_ARCH.PHI3:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if arch == gguf.MODEL_ARCH.PHI3:
        writer.add_sliding_window(config.get("sliding_window") or 0)
    elif arch in (gguf.MODEL_ARCH.GEMMA2, gguf.MODEL_ARCH.GEMMA3):
        writer.add_sliding_window(config["sliding_window"])
    if arch == gguf.MODEL_ARCH.GEMMA3:
        writer.add_rope_freq_base_swa(config["rope_local_base_freq"])
        # The converter writes no period, for it knows one only; llama.cpp reads it where there is one.
        writer.add_sliding_window_pattern(config["sliding_window_pattern"])
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    _write_scaling(writer, config)


def _write_scaling(writer: GGUFWriter, config: dict[str, Any]) -> None:
    scaling = config.get("rope_scaling") or {}
    kind, longest = scaling.get("rope_type"), config["max_position_embeddings"]
    original = {**scaling, **config}.get("original_max_position_embeddings", longest)
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(scaling["factor"])
    if kind == "longrope":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longest / original) / math.log(original)))
    if kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(original)


def _rope_tables(config: dict[str, Any]) -> dict[str, Any]:
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") == "longrope":
        return {f"rope_factors_{kind}.weight": scaling[f"{kind}_factor"] for kind in ("long", "short")}
    if scaling.get("rope_type") != "llama3":
        return {}
    dim, original = config["head_dim"], scaling["original_max_position_embeddings"]
    low, high, factor = (scaling[key] for key in ("low_freq_factor", "high_freq_factor", "factor"))
    table = []
    for pair in range(dim // 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (2 * pair / dim)
        if wavelength < original / high:
            table.append(1.0)
        elif wavelength > original / low:
            table.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            table.append(1 / ((1 - smooth) / factor + smooth))
    return {"rope_freqs.weight": table}


def _write_tokenizer(writer: GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {token["id"] for token in described["added_tokens"] if token["special"]}
    vocabulary = described["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = [gguf.TokenType.CONTROL if index in special else gguf.TokenType.NORMAL for index in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in described["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(settings["add_bos_token"])
    writer.add_chat_template(settings["chat_template"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a tiny Hugging Face model as a GGUF file.")
    parser.add_argument("folder")
    parser.add_argument("path")
    parser.add_argument("--kind", choices=("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"))
    options = parser.parse_args()
    kind = GGMLQuantizationType[options.kind] if options.kind else None
    print(write_tiny_gguf(options.folder, options.path, lambda name: kind))


if __name__ == "__main__":
    main()
