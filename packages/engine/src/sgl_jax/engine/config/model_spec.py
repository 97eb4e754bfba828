"""A model's shape, read once from its `config.json` (or from GGUF metadata brought into that form)."""

from __future__ import annotations

from typing import Any

import msgspec

from sgl_jax.engine.config.family_defaults import FAMILY_DEFAULTS, with_head
from sgl_jax.engine.errors import ModelLoadError

_ROPE_ALIASES = {"su": "longrope"}
_MOST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 22,
    "num_layers": 1 << 12,
    "num_heads": 1 << 16,
    "num_kv_heads": 1 << 16,
    "head_dim": 1 << 16,
    "max_position_embeddings": (1 << 31) - 1,
}
"""Far beyond any model: what is larger is damage, and would only fill the memory before it fails."""


class RopeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Rotary embedding: base frequency, rotated dimensions, and the scaling rule's own parameters.

    Attributes:
        max_length: `max_position_embeddings`, the longest sequence.
        trained_length: the longest before the rule stretched it.
        scaling: has `rope_type`, and what that rule asks for.
    """

    theta: float
    rotary_dim: int
    max_length: int
    trained_length: int
    scaling: dict[str, Any] | None = None


class CacheSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a token leaves in each layer's cache.

    Attributes:
        heads: vectors, or pairs of them.
        head_dim: width of each.
        values: whether values are vectors of their own beside the keys, and not the first dimensions of these.
    """

    heads: int
    head_dim: int
    values: bool = True


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen description of a decoder; names follow Hugging Face's `config.json`.

    Attributes:
        architecture: the first entry of `architectures`, with `ForCausalLM` for `Model`: what is saved without its
            output head, as embedding models are, is the same otherwise.
        max_position_embeddings: the longest sequence; with dynamic scaling that is beyond the trained length.
        head_dim: width of a head; with latent attention, of the part that is rotated.
        norm_eps: `rms_norm_eps`, or `layer_norm_eps` of families with that norm.
        eos_token_ids: those in the vocabulary; some configs say -1 for none.
        raw: the whole config, for what only one family knows.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    cache: CacheSpec
    max_position_embeddings: int
    norm_eps: float
    rope: RopeSpec
    tie_word_embeddings: bool
    hidden_act: str
    attention_bias: bool
    mlp_bias: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    raw: dict[str, Any]

    @classmethod
    def from_hf_config(cls, config: dict[str, Any], generation_config: dict[str, Any] | None = None) -> ModelSpec:
        """Reads a Hugging Face config.

        Args:
            config: parsed `config.json`.
            generation_config: parsed `generation_config.json`; its `eos_token_id` adds to the config's.

        Raises:
            ModelLoadError: naming each missing or ill-typed field.
        """
        architectures = config.get("architectures")
        if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
            raise ModelLoadError("config.json has no 'architectures': is this a Hugging Face model folder?")
        architecture = with_head(architectures[0])
        config = {**FAMILY_DEFAULTS.get(architecture, {}), **_text_part(config)}
        required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        for name in required:
            if not isinstance(config.get(name), int) or config[name] < 1:
                raise ModelLoadError(f"config.json: '{name}' must be a positive integer, got {config.get(name)!r}.")
        heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        latent = config.get("kv_lora_rank")
        if latent is not None:
            head_dim = config.get("qk_rope_head_dim")
        try:
            kv_heads, head_dim = int(config.get("num_key_value_heads") or heads), int(head_dim)
            rope = rope_spec(config, head_dim)
            plain = CacheSpec(heads=kv_heads, head_dim=head_dim)
            spec = cls(
                architecture=architecture,
                vocab_size=config["vocab_size"],
                hidden_size=config["hidden_size"],
                intermediate_size=config["intermediate_size"],
                num_layers=config["num_hidden_layers"],
                num_heads=heads,
                num_kv_heads=kv_heads,
                head_dim=head_dim,
                cache=plain if latent is None else CacheSpec(heads=1, head_dim=int(latent) + head_dim, values=False),
                max_position_embeddings=_longest(rope),
                norm_eps=float(config.get("rms_norm_eps") or config.get("layer_norm_eps") or 1e-6),
                rope=rope,
                tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
                hidden_act=str(config.get("hidden_activation") or config.get("hidden_act") or "silu"),
                attention_bias=bool(config.get("attention_bias", False)),
                mlp_bias=bool(config.get("mlp_bias", False)),
                bos_token_id=_first(config.get("bos_token_id")),
                eos_token_ids=_ends(config["vocab_size"], config, generation_config or {}),
                raw=config,
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelLoadError(f"config.json has a field of the wrong type: {error}.") from error
        _check_sizes(spec)
        return spec


def _check_sizes(spec: ModelSpec) -> None:
    for name, most in _MOST.items():
        if not 0 < getattr(spec, name) <= most:
            raise ModelLoadError(f"config.json: {name} must lie between 1 and {most}, got {getattr(spec, name)}.")
    if not 0 < spec.rope.rotary_dim <= spec.head_dim:
        raise ModelLoadError(
            f"config.json: {spec.rope.rotary_dim} of {spec.head_dim} dimensions are to be rotated; "
            "look at partial_rotary_factor and head_dim."
        )


def rope_spec(config: dict[str, Any], head_dim: int, layer_type: str = "full_attention") -> RopeSpec:
    """The rotary embedding that a config asks for.

    Args:
        config: parsed `config.json`.
        head_dim: the whole head, rotated or not.
        layer_type: which of the layers, where the config tells them apart.

    Raises:
        ModelLoadError: the entry is not an object.
    """
    # Newer configs nest everything under `rope_parameters`, some by layer type; older ones spread it over three keys.
    nested = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if isinstance(nested, dict):
        nested = nested.get(layer_type, nested)
    if not isinstance(nested, dict):
        raise ModelLoadError(f"config.json: 'rope_scaling' must be an object, got {nested!r}.")
    kind = nested.get("rope_type") or nested.get("type") or "default"
    original, longest = "original_max_position_embeddings", int(config.get("max_position_embeddings") or 2048)
    fraction = float(nested.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0)
    return RopeSpec(
        theta=float(nested.get("rope_theta") or config.get("rope_theta") or 10000.0),
        rotary_dim=int(head_dim * fraction),
        max_length=longest,
        trained_length=int(config.get(original) or nested.get(original) or longest),
        scaling=None if kind == "default" else {**nested, "rope_type": _ROPE_ALIASES.get(kind, kind)},
    )


def _text_part(config: dict[str, Any]) -> dict[str, Any]:
    """What a model of several parts says of its language model, over what it says of all of them."""
    part = config.get("text_config")
    if not isinstance(part, dict):
        return config
    # The outer list of end tokens is the longer one: chat models end turns with tokens that the text part never saw.
    return {**config, **part, **{key: config[key] for key in ("architectures", "eos_token_id") if key in config}}


def _longest(rope: RopeSpec) -> int:
    # Other rules' configs state the stretched length themselves.
    if rope.scaling is not None and rope.scaling["rope_type"] == "dynamic":
        return int(rope.max_length * float(rope.scaling.get("factor", 1.0)))
    return rope.max_length


def _first(value: Any) -> int | None:
    if isinstance(value, list):
        return int(value[0]) if value else None
    return None if value is None else int(value)


def _ends(vocab_size: int, *configs: dict[str, Any]) -> tuple[int, ...]:
    found: list[int] = []
    for config in configs:
        value = config.get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        found.extend(int(token) for token in ids)
    return tuple(token for token in dict.fromkeys(found) if 0 <= token < vocab_size)
