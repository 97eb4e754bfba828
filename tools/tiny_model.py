"""Writes a tiny seeded model in Hugging Face form: real files, real tokenizer, random weights.

    python -m tools.tiny_model /some/folder --architecture LlamaForCausalLM --seed 3 --set head_dim=80

The same arguments give the same bytes on every machine, so a test stores a seed and not a checkpoint
(`tests/parity`). Weights come from uniform draws (no libm), each tensor from its own stream: a tied and
an untied model of one seed share all other tensors.

Needs numpy, ml_dtypes, safetensors and tokenizers; neither jax nor torch. A further architecture is one
more row in `tiny_model_architectures.ARCHITECTURES`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.tiny_model_architectures import ARCHITECTURES, BASE_CONFIG, VOCAB_SIZE

Array = npt.NDArray[Any]

DTYPES: dict[str, npt.DTypeLike] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tiny_model(
    path: str | Path,
    architecture: str = "LlamaForCausalLM",
    *,
    seed: int = 0,
    tie: bool = False,
    dtype: str = "float32",
    shards: int = 1,
    **overrides: Any,
) -> Path:
    """Writes `config.json`, `generation_config.json`, weights and tokenizer files.

    Args:
        path: the folder; made when missing, files in it are overwritten.
        architecture: a key of `ARCHITECTURES`.
        seed: of all weights.
        tie: share the embedding with the output layer (then `lm_head.weight` is not written).
        dtype: `float32`, `float16` or `bfloat16`.
        shards: number of safetensors files; above 1 there is also an index.
        **overrides: fields of `config.json`, such as `head_dim=80` or `rope_scaling={...}`.

    Returns:
        The folder.

    Raises:
        ValueError: unknown architecture or dtype, or a vocabulary smaller than the tokenizer's.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"Unknown architecture {architecture!r}; one of {', '.join(ARCHITECTURES)}.")
    if dtype not in DTYPES:
        raise ValueError(f"Unknown dtype {dtype!r}; one of {', '.join(DTYPES)}.")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(architecture, tie=tie, dtype=dtype, **overrides)
    tokenizer = _train_tokenizer()
    if tokenizer.get_vocab_size() > config["vocab_size"]:
        raise ValueError(f"vocab_size must be at least {tokenizer.get_vocab_size()}, got {config['vocab_size']}.")
    _write_json(folder / "config.json", _with_surroundings(config))
    _write_json(folder / "generation_config.json", {key: config[key] for key in ("bos_token_id", "eos_token_id")})
    _write_weights(folder, tiny_tensors(config, seed), DTYPES[dtype], shards)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(config))
    return folder


def tiny_digest(folder: str | Path) -> str:
    """SHA-256 over the weight files: tells a changed generator from a changed engine."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def tiny_config(architecture: str, *, tie: bool, dtype: str, **overrides: Any) -> dict[str, Any]:
    """The `config.json` of such a model."""
    family = ARCHITECTURES[architecture]
    return {
        "architectures": [architecture],
        "model_type": family.model_type,
        "dtype": dtype,
        **{key: value for key, value in {**BASE_CONFIG, **family.config}.items() if value is not None},
        "tie_word_embeddings": tie,
        **overrides,
    }


def _with_surroundings(config: dict[str, Any]) -> dict[str, Any]:
    """`config.json`, in which a model of several parts keeps its text part in a field of its own."""
    around = ARCHITECTURES[config["architectures"][0]].around
    if around is None:
        return config
    shared = ("architectures", "dtype", "tie_word_embeddings")
    text = {key: value for key, value in config.items() if key != "architectures"}
    return {**{key: config[key] for key in shared}, **around, "text_config": text}


def tiny_tensors(config: Mapping[str, Any], seed: int) -> dict[str, Array]:
    """All tensors of the model by checkpoint name, in float32."""
    axes = _axes(config)
    tensors: dict[str, Array] = {}
    for rule in ARCHITECTURES[config["architectures"][0]].tensors:
        if rule.name.endswith("lm_head.weight") and config["tie_word_embeddings"]:
            continue
        if rule.when and bool(config.get(rule.when.lstrip("-"))) == rule.when.startswith("-"):
            continue
        shape = tuple(axes[letter] for letter in rule.shape)
        layers = _layers(config, rule.layers) if "{layer}" in rule.name else [0]
        experts = range(axes["E"]) if "{expert}" in rule.name else [0]
        for layer, expert in itertools.product(layers, experts):
            name = rule.name.format(layer=layer, expert=expert)
            # Its own stream by name: adding or leaving out one tensor leaves the others as they were.
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            tensors[name] = _INITS[rule.init](rng, shape, rule.gain)
    return tensors


def _layers(config: Mapping[str, Any], which: str) -> list[int]:
    """The numbers of `all` layers, or of those that are `dense` or `sparse`."""
    period, plain = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers", ())
    first_sparse = config.get("first_k_dense_replace", 0)
    numbers = range(config["num_hidden_layers"])
    sparse = [number for number in numbers if number >= first_sparse and (number + 1) % period == 0]
    sparse = [number for number in sparse if number not in plain]
    return {"all": [*numbers], "sparse": sparse, "dense": [number for number in numbers if number not in sparse]}[which]


def _axes(config: Mapping[str, Any]) -> dict[str, int]:
    heads, head_dim = config["num_attention_heads"], config.get("head_dim", 0)
    plain, rotated, value = (config.get(key, 0) for key in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    shared = config.get("n_shared_experts", 0) * config.get("moe_intermediate_size", 0)
    return {
        "1": 1,
        "E": config.get("num_local_experts") or config.get("num_experts") or config.get("n_routed_experts") or 0,
        "M": config.get("moe_intermediate_size", 0),
        "S": config.get("shared_expert_intermediate_size") or shared,
        "L": config.get("q_lora_rank") or 0,
        "R": config.get("kv_lora_rank", 0),
        "C": config.get("kv_lora_rank", 0) + rotated,
        "X": heads * (plain + rotated),
        "B": heads * (plain + value),
        "Y": heads * value,
        "V": config["vocab_size"],
        "H": config["hidden_size"],
        "F": config["intermediate_size"],
        "G": 2 * config["intermediate_size"],
        "D": head_dim,
        "N": heads,
        "Q": heads * head_dim,
        "K": config["num_key_value_heads"] * head_dim,
        "A": (heads + 2 * config["num_key_value_heads"]) * head_dim,
    }


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> Array:
    half_width = np.float32(std * 3**0.5)
    return (rng.random(shape, dtype=np.float32) * 2 - 1) * half_width


_INITS: dict[str, Callable[[np.random.Generator, tuple[int, ...], float], Array]] = {
    "matmul": lambda rng, shape, gain: _uniform(rng, shape, gain / float(shape[-1]) ** 0.5),
    "embedding": _uniform,
    "bias": _uniform,
    "norm": lambda rng, shape, gain: np.float32(gain) + _uniform(rng, shape, 0.2 / 3**0.5),
}


def _write_weights(folder: Path, tensors: dict[str, Array], dtype: npt.DTypeLike, shards: int) -> None:
    names = list(tensors)
    if not 1 <= shards <= len(names):
        raise ValueError(f"shards must lie between 1 and {len(names)}, got {shards}.")
    stored = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
    if shards == 1:
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file_name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        own = names[shard::shards]
        save_file({name: stored[name] for name in own}, folder / file_name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(own, file_name))
    total = sum(tensor.nbytes for tensor in stored.values())
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def _train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT.splitlines(keepends=True), trainer)
    return tokenizer


def _tokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        "chat_template": CHAT_TEMPLATE,
        "added_tokens_decoder": {
            str(number): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for number, token in enumerate(SPECIAL_TOKENS)
        },
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


_TEXT = """\
The engine reads a model from a folder and answers requests. A request brings a prompt, and the prompt becomes tokens.
The scheduler looks at the requests that wait and at the requests that run, and it plans one step after another.
In each step some tokens are computed: the whole prompt, a part of the prompt, or one more token of the answer.
There is no phase for the prompt and no phase for the answer; a counter follows another counter until it is there.
Every page of the cache holds sixteen tokens. When two prompts begin with the same words, they share the same pages.
When the pages run out, the scheduler takes one request back to the queue and computes it again at a later time.
What is the capital of the country? Why does the water in the river run down to the sea? How many people live there?
She said that she would come on Monday, but he thought that it was better to wait for the weather to become warmer.
A small house stood on the other side of the hill, and from the window they could see the lights of the town below.
He opened the letter, read it twice, and put it back into the drawer where his mother had kept all of her letters.
def main(arguments):
    for name, value in arguments.items():
        if value is not None:
            print(name, value)
    return 0
{"name": "weather", "arguments": {"city": "Paris", "unit": "celsius"}}
You are a helpful assistant. Please write a short story about a robot who wants to learn how to paint with colours.
One, two, three, four, five, six, seven, eight, nine, ten. 0 1 2 3 4 5 6 7 8 9 10 100 1000 2024 3.14159
"""


def _override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a tiny seeded model in Hugging Face form.")
    parser.add_argument("path", help="folder to write")
    parser.add_argument("--architecture", default="LlamaForCausalLM", choices=sorted(ARCHITECTURES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tie", action="store_true", help="share embedding and output layer")
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--shards", type=int, default=1, help="number of safetensors files")
    parser.add_argument("--set", type=_override, action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    options = vars(parser.parse_args())
    print(make_tiny_model(**{**options, **dict(options.pop("overrides"))}))


if __name__ == "__main__":
    main()
