"""A model's shape, read once from its `config.json` (or from GGUF metadata brought into that form)."""

from __future__ import annotations

from typing import Any

import msgspec

from sgl_jax.engine.errors import ModelLoadError


class RopeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Rotary embedding: base frequency, rotated dimensions, and the scaling rule's own parameters."""

    theta: float
    rotary_dim: int
    scaling: dict[str, Any] | None = None


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen description of a decoder; names follow Hugging Face's `config.json`.

    Attributes:
        architecture: the first entry of `architectures`.
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
    max_position_embeddings: int
    rms_norm_eps: float
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
        required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        for name in required:
            if not isinstance(config.get(name), int) or config[name] < 1:
                raise ModelLoadError(f"config.json: '{name}' must be a positive integer, got {config.get(name)!r}.")
        heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        try:
            return cls(
                architecture=architectures[0],
                vocab_size=config["vocab_size"],
                hidden_size=config["hidden_size"],
                intermediate_size=config["intermediate_size"],
                num_layers=config["num_hidden_layers"],
                num_heads=heads,
                num_kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(head_dim),
                max_position_embeddings=int(config.get("max_position_embeddings") or 2048),
                rms_norm_eps=float(config.get("rms_norm_eps") or 1e-6),
                rope=_rope(config, int(head_dim)),
                tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
                hidden_act=str(config.get("hidden_act") or config.get("hidden_activation") or "silu"),
                attention_bias=bool(config.get("attention_bias", False)),
                mlp_bias=bool(config.get("mlp_bias", False)),
                bos_token_id=_first(config.get("bos_token_id")),
                eos_token_ids=_token_ids(config, generation_config or {}),
                raw=config,
            )
        except (TypeError, ValueError) as error:
            raise ModelLoadError(f"config.json has a field of the wrong type: {error}.") from error


def _rope(config: dict[str, Any], head_dim: int) -> RopeSpec:
    # Newer configs nest everything under `rope_parameters`; older ones spread it over three keys.
    nested = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(nested, dict):
        raise ModelLoadError(f"config.json: 'rope_scaling' must be an object, got {nested!r}.")
    kind = nested.get("rope_type") or nested.get("type") or "default"
    fraction = float(nested.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0)
    return RopeSpec(
        theta=float(nested.get("rope_theta") or config.get("rope_theta") or 10000.0),
        rotary_dim=int(head_dim * fraction),
        scaling=None if kind == "default" else {**nested, "rope_type": kind},
    )


def _first(value: Any) -> int | None:
    if isinstance(value, list):
        return int(value[0]) if value else None
    return None if value is None else int(value)


def _token_ids(*configs: dict[str, Any]) -> tuple[int, ...]:
    found: list[int] = []
    for config in configs:
        value = config.get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        found.extend(int(token) for token in ids)
    return tuple(dict.fromkeys(found))
