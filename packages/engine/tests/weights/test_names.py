"""Where each parameter of a decoder comes from, with layers one by one and stacked."""

from __future__ import annotations

import pytest

from sgl_jax.engine.weights.names import LayerShapes, decoder_recipes

ENDS = {"embed_tokens.weight": (10, 4), "lm_head.weight": (10, 4)}
DENSE = LayerShapes({"mlp.gate_up_proj.weight": (6, 4)}, 1)
SPARSE = LayerShapes(
    {"norm.weight": (4,), "mlp.experts.up.weight": (2, 6, 4), "mlp.experts.down": (2, 4, 3)},
    2,
    frozenset({"mlp.experts.up.weight", "mlp.experts.down"}),
)
FUSED = {
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.experts.up": ("mlp.experts.{expert}.w1", "mlp.experts.{expert}.w3"),
}


def recipes(*, stacked):
    return decoder_recipes(ENDS, [DENSE, SPARSE], fused=FUSED, stacked=stacked)


def expert(layer, number):
    return tuple(f"model.layers.{layer}.mlp.experts.{number}.{part}.weight" for part in ("w1", "w3"))


def test_layers_one_by_one():
    found = recipes(stacked=False)
    assert list(found)[:3] == ["model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.gate_up_proj.weight"]
    assert len(found) == 2 + 1 + 2 * 3
    gate_up = found["model.layers.0.mlp.gate_up_proj.weight"]
    assert gate_up.sources == (("model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"),)
    assert (gate_up.shape, gate_up.stacked) == ((6, 4), False)
    up = found["model.layers.2.mlp.experts.up.weight"]
    assert (up.sources, up.shape, up.stacked) == ((expert(2, 0), expert(2, 1)), (2, 6, 4), True)
    down = found["model.layers.2.mlp.experts.down"]
    assert (down.sources, down.shape) == ((("model.layers.2.mlp.experts.down",),), (2, 4, 3))


def test_runs_are_stacked_one_by_one():
    found = recipes(stacked=True)
    assert len(found) == 2 + 1 + 3
    assert found["model.layers.0.mlp.gate_up_proj.weight"].shape == (1, 6, 4)
    norm = found["model.layers.1-2.norm.weight"]
    assert norm.sources == (("model.layers.1.norm.weight",), ("model.layers.2.norm.weight",))
    assert (norm.shape, norm.stacked) == ((2, 4), True)


def test_experts_of_stacked_layers_lie_end_to_end():
    found = recipes(stacked=True)
    up = found["model.layers.1-2.mlp.experts.up.weight"]
    assert up.sources == (expert(1, 0), expert(1, 1), expert(2, 0), expert(2, 1))
    assert (up.shape, up.stacked) == ((4, 6, 4), True)
    down = found["model.layers.1-2.mlp.experts.down"]
    assert down.sources == (("model.layers.1.mlp.experts.down", "model.layers.2.mlp.experts.down"),)
    assert (down.shape, down.stacked) == ((4, 4, 3), False)


@pytest.mark.parametrize("stacked", [False, True])
def test_only_layers_are_stacked(stacked):
    embedding = recipes(stacked=stacked)["model.embed_tokens.weight"]
    assert (embedding.sources, embedding.shape) == ((("model.embed_tokens.weight",),), (10, 4))
