"""The oracle's side of loading: transformers models and an independent SmolLM2 tokenizer.

Nothing here imports sgl_jax, on purpose: the oracle shares no code with what it judges.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

_CONTROL = 3  # the GGUF token type of special tokens

_GGUF_TO_HF = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Step:
    """One greedy token: the five likeliest tokens, best first; the first of them was taken."""

    top_ids: list[int]
    top_logprobs: list[float]

    @property
    def margin(self) -> float:
        """Log-probability of the best token less that of the second."""
        return self.top_logprobs[0] - self.top_logprobs[1]


def load_folder(folder: Path) -> Any:
    """A Hugging Face folder as a float32 torch model with plain attention."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def load_llama_gguf(path: Path) -> Any:
    """A llama-architecture GGUF as a float32 torch model: dequantised, rows of q and k in Hugging Face order."""
    reader = gguf.GGUFReader(path)

    def field(name: str) -> Any:
        found = reader.get_field(f"llama.{name}")
        return None if found is None else found.contents()

    heads = field("attention.head_count")
    kv_heads = field("attention.head_count_kv")
    state: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        weight = gguf.dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            weight = _half_split_rows(weight, heads)
        elif ".attn_k." in tensor.name:
            weight = _half_split_rows(weight, kv_heads)
        state[_hf_name(tensor.name)] = torch.from_numpy(np.array(weight))
    config = LlamaConfig(
        vocab_size=state["model.embed_tokens.weight"].shape[0],
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")},
        tie_word_embeddings="lm_head.weight" not in state,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"lm_head.weight"}, missing
    model.tie_weights()
    return model.float().eval()


def greedy(model: Any, prompt_ids: Sequence[int], count: int) -> list[Step]:
    """`count` greedy tokens, never stopping; log-probabilities come from one forward over the whole text.

    Raises:
        AssertionError: decoding with a KV cache and the one long forward disagree on a token.
    """
    with torch.no_grad():
        token, cache = torch.tensor([list(prompt_ids)]), None
        generated: list[int] = []
        last: list[torch.Tensor] = []
        for _ in range(count):
            output = model(token, past_key_values=cache, use_cache=True)
            last.append(output.logits[0, -1])
            token, cache = output.logits[:, -1].argmax(-1, keepdim=True), output.past_key_values
            generated.append(int(token))
        whole = torch.tensor([[*prompt_ids, *generated]])
        logits = model(whole, use_cache=False).logits[0, len(prompt_ids) - 1 : -1]
        if (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "dynamic":
            # One long forward turns all tokens by the whole length, and generation each by its own: that is meant.
            logits = torch.stack(last)
        values, ids = logits.double().log_softmax(-1).topk(5)
    assert ids[:, 0].tolist() == generated, "a near tie: cached and uncached decoding differ"
    return [Step(row.tolist(), [round(v, 6) for v in value.tolist()]) for row, value in zip(ids, values, strict=True)]


class Smollm2Tokenizer:
    """SmolLM2's byte-level BPE from the GGUF vocabulary, with single digits split off.

    Every encoding is made twice, by the tokenizers library with the pre-tokenizer of the model's published
    `tokenizer.json` and by a plain BPE in Python over llama.cpp's regular expressions for `smollm`.
    (transformers' own GGUF reader knows no `smollm` pre-tokenizer: it merges digits, which the model never saw.)
    """

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        fields = {key: reader.fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")}
        self._vocab = {token: number for number, token in enumerate(fields["tokens"])}
        merges = [tuple(merge.split(" ")) for merge in fields["merges"]]
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        kinds = zip(fields["tokens"], fields["token_type"], strict=True)
        self._special = [token for token, kind in kinds if kind == _CONTROL]
        self._tokenizer = Tokenizer(models.BPE(vocab=self._vocab, merges=merges))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        self._tokenizer.decoder = decoders.ByteLevel()
        self._tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in self._special])

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens written in the text are recognised, none are added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == self._encode_plainly(text), f"the two tokenizers differ on {text!r}"
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def _encode_plainly(self, text: str) -> list[int]:
        specials = "|".join(_escape(token) for token in sorted(self._special, key=len, reverse=True))
        gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        ids: list[int] = []
        for piece in _split(text, specials):
            if piece in self._special:
                ids.append(self._vocab[piece])
                continue
            for part in _split(piece, r"\p{N}"):
                for word in _split(part, gpt2):
                    symbols = list(to_bytes.pre_tokenize_str(word)[0][0])
                    ids.extend(self._vocab[symbol] for symbol in self._merge(symbols))
        return ids

    def _merge(self, symbols: list[str]) -> list[str]:
        while len(symbols) > 1:
            pairs = [(self._ranks.get(pair), at) for at, pair in enumerate(itertools.pairwise(symbols))]
            known = [(rank, at) for rank, at in pairs if rank is not None]
            if not known:
                break
            _, at = min(known)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return symbols


def _split(text: str, pattern: str) -> list[str]:
    if not text:
        return []
    return [piece for piece, _ in pre_tokenizers.Split(Regex(pattern), behavior="isolated").pre_tokenize_str(text)]


def _escape(token: str) -> str:
    return "".join("\\" + letter if letter in "|.()[]{}^$*+?\\" else letter for letter in token)


def _half_split_rows(weight: Any, heads: int) -> Any:
    # llama.cpp stores each head's rows as rotation pairs (0, d/2, 1, d/2 + 1, …); Hugging Face as two halves.
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _hf_name(name: str) -> str:
    outer = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in outer:
        return outer[name]
    if name == "output.weight":
        return "lm_head.weight"
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_GGUF_TO_HF[part]}.{kind}"
