"""Checkpoints that name or lay out their tensors otherwise than our parameters: how each of these is read.

One function a family, which says what a checkpoint's tensor gives. Names are the contract between the two sides: what
comes out here is what `weights.names` asks for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.adapted import AdaptedSource, Derived, view
from sgl_jax.engine.weights.mxfp4 import dequantize
from sgl_jax.engine.weights.source import HostArray, TensorSource

Tensors = Mapping[str, str | Derived]
Adapter = Callable[[str, ModelSpec], Tensors]
"""A checkpoint's tensor, the model -> what it gives under our names; nothing, if the model has no use for it."""


def adapt(source: TensorSource, spec: ModelSpec) -> TensorSource:
    """The checkpoint under the names that this family's recipes use.

    Raises:
        ModelLoadError: the checkpoint is quantized in a form that is not read.
    """
    method = (spec.raw.get("quantization_config") or {}).get("quant_method")
    if method not in (None, *_QUANTIZED.get(spec.architecture, ())):
        raise ModelLoadError(
            f"This checkpoint is quantized ({method}), a form that {spec.architecture} is not read from. "
            "Use the unquantized one, and --quantization to pack it while loading."
        )
    if _BARE_EMBEDDING in source.names():
        named = {name if name.startswith("lm_head.") else f"model.{name}": name for name in source.names()}
        source = AdaptedSource(source, named)
    adapter = _ADAPTERS.get(spec.architecture)
    if adapter is None:
        return source
    tensors: dict[str, str | Derived] = {}
    for name in source.names():
        tensors |= adapter(name, spec)
    return AdaptedSource(source, tensors)


def _gemma3(name: str, _: ModelSpec) -> Tensors:
    """The language model has a prefix (two, over the years), and what sees images stays out."""
    if re.match(r"(model\.)?(vision_tower|multi_modal_projector)\.", name):
        return {}
    ours = re.sub(r"^(language_model\.model|model\.language_model)\.", "model.", name)
    return {ours.removeprefix("language_model."): name}


def _gpt_oss(name: str, spec: ModelSpec) -> Tensors:
    """Experts lie in one tensor, gates and what they gate alternating: as [in, out], or packed as [out, in]."""
    module, separator, kind = name.rpartition(".mlp.experts.")
    if not separator:
        return {name: name}
    expert_name = f"{module}.mlp.experts.{{}}.{{}}".format
    of_gate_up = {"gate_proj": slice(0, None, 2), "up_proj": slice(1, None, 2)}
    of_down = {"down_proj": slice(None)}
    rows = of_gate_up if kind.startswith("gate_up_proj") else of_down
    if kind.endswith("_scales"):  # read together with their blocks
        return {}
    if kind.endswith("_blocks"):
        scales = name.removesuffix("_blocks") + "_scales"
        return {
            expert_name(expert, f"{part}.weight"): Derived(
                (name, scales),
                functools.partial(_unpack, expert, which),
                functools.partial(_unpacked_shape, expert, which),
            )
            for expert in range(spec.raw["num_local_experts"])
            for part, which in rows.items()
        }
    leaf, cut = ("bias", _row) if kind.endswith("_bias") else ("weight", _columns)
    return {
        expert_name(expert, f"{part}.{leaf}"): view(name, functools.partial(cut, expert, which))
        for expert in range(spec.raw["num_local_experts"])
        for part, which in rows.items()
    }


def _deepseek(name: str, spec: ModelSpec) -> Tensors:
    """What latents are multiplied by is cut into keys' and values' part; layers past the last guess further tokens."""
    layer = re.match(r"model\.layers\.(\d+)\.", name)
    if layer and int(layer[1]) >= spec.num_layers:
        return {}
    module, separator, _ = name.rpartition(".kv_b_proj.weight")
    if not separator:
        return {name: name}
    key_rows = spec.raw["qk_nope_head_dim"]
    by_head = functools.partial(_rows_of_heads, spec.num_heads)
    return {
        f"{module}.k_up": view(name, functools.partial(by_head, slice(None, key_rows))),
        f"{module}.v_up": view(name, functools.partial(by_head, slice(key_rows, None))),
    }


def _rows_of_heads(heads: int, which: slice, tensor: HostArray) -> HostArray:
    return tensor.reshape(heads, -1, tensor.shape[-1])[:, which]


def _row(expert: int, which: slice, tensor: HostArray) -> HostArray:
    return tensor[expert, which]


def _columns(expert: int, which: slice, tensor: HostArray) -> HostArray:
    return tensor[expert, :, which].T


def _unpack(expert: int, which: slice, blocks: HostArray, scales: HostArray) -> HostArray:
    return dequantize(blocks[expert, which], scales[expert, which])


def _unpacked_shape(expert: int, which: slice, blocks: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, ...]:
    experts, rows, groups, width = blocks
    if expert >= experts:
        raise IndexError(expert)
    return len(range(rows)[which]), groups * width * 2


_ADAPTERS: dict[str, Adapter] = {
    "DeepseekV3ForCausalLM": _deepseek,
    "Gemma3ForConditionalGeneration": _gemma3,
    "GptOssForCausalLM": _gpt_oss,
}
_BARE_EMBEDDING = "embed_tokens.weight"
"""In checkpoints saved without the outer module, as embedding models often are: then names lack its prefix."""
_QUANTIZED = {"GptOssForCausalLM": ("mxfp4",)}
"""Quantized checkpoints that an adapter unpacks."""
