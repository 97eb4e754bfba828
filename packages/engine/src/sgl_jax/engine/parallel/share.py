"""What one of several devices computes of a model: a smaller model of the same family.

It has a part of the heads, of the feed-forward blocks' inner widths and of the vocabulary, and everything else whole.
So a family never hears of other devices: it is built from its share's `ModelSpec`. Experts too are narrower on each
device instead of fewer: all devices then work on every token, however the tokens choose.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sgl_jax.engine.config.model_spec import CacheSpec, ModelSpec
from sgl_jax.engine.errors import ConfigError

_WIDTHS = ("moe_intermediate_size", "shared_expert_intermediate_size")
"""Inner widths that only `ModelSpec.raw` knows."""
_MOST_DEVICES = 64


def share_of(spec: ModelSpec, count: int) -> ModelSpec:
    """The share that each of `count` devices has.

    Where there are fewer key heads than devices, each device has the one that its query heads need. The vocabulary is
    rounded up: the last devices' rows may be padding.

    Raises:
        ConfigError: the model cannot be cut into so many; the message names the numbers, and counts that work.
    """
    if problems := list(_problems(spec, count)):
        works = [str(other) for other in range(1, _MOST_DEVICES + 1) if not any(_problems(spec, other))]
        raise ConfigError(
            f"--tp-size={count}: this model cannot be cut into {count} shares, because {' and '.join(problems)}. "
            f"Sizes that work: {', '.join(works)}."
        )
    kv_heads = max(spec.num_kv_heads // count, 1)
    latent = not spec.cache.values
    widths = {name: spec.raw[name] // count for name in _WIDTHS if _is_width(spec, name)}
    return msgspec.structs.replace(
        spec,
        vocab_size=-(-spec.vocab_size // count),
        intermediate_size=spec.intermediate_size // count,
        num_heads=spec.num_heads // count,
        num_kv_heads=kv_heads,
        cache=spec.cache if latent else CacheSpec(heads=kv_heads, head_dim=spec.cache.head_dim),
        raw={**spec.raw, **widths},
    )


def laid_end_to_end(leaf: str, length: int, spec: ModelSpec) -> tuple[int, ...]:
    """Lengths of the matrices that lie behind one another in a parameter; each of them is cut by itself.

    Args:
        leaf: its dotted path.
        length: of the axis that is cut.
        spec: of the model, or of a share.
    """
    modules = leaf.split(".")
    if "qkv_proj" in modules:
        query, key = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        return query, key, key
    return (length // 2, length // 2) if "gate_up_proj" in modules else (length,)


def _problems(spec: ModelSpec, count: int) -> Iterator[str]:
    if spec.num_heads % count:
        yield f"{spec.num_heads} attention heads are not divisible by {count}"
    if spec.cache.values and spec.num_kv_heads % count and count % spec.num_kv_heads:
        yield f"neither are {spec.num_kv_heads} key heads divisible by {count} nor {count} by {spec.num_kv_heads}"
    widths = {"intermediate_size": spec.intermediate_size}
    widths |= {name: spec.raw[name] for name in _WIDTHS if _is_width(spec, name)}
    for name, width in widths.items():
        if width % count:
            yield f"{name} {width} is not divisible by {count}"


def _is_width(spec: ModelSpec, name: str) -> bool:
    return isinstance(spec.raw.get(name), int)
