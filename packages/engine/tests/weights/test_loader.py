from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.loader import ParamRecipe, load_params


class Memory:
    """A source over arrays that remembers what was read."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self._tensors = tensors
        self.reads: list[str] = []

    def names(self) -> frozenset[str]:
        return frozenset(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._tensors[name].dtype

    def read(self, name: str) -> np.ndarray:
        self.reads.append(name)
        return self._tensors[name]


def numbered(*shape: int, start: int = 0) -> np.ndarray:
    return (np.arange(np.prod(shape)) + start).reshape(shape).astype(np.float32)


def load(source: Memory, recipes: dict[str, ParamRecipe], dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return load_params(source, recipes, dtype, place=lambda name, array: array)


def complaint(source: Memory, recipes: dict[str, ParamRecipe]) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load(source, recipes)
    assert source.reads == [], "all is checked before anything is read"
    return str(caught.value)


def test_a_single_tensor() -> None:
    weight = numbered(3, 2)
    loaded = load(Memory({"w": weight}), {"p": ParamRecipe((("w",),), (3, 2))})
    np.testing.assert_array_equal(loaded["p"], weight)


def test_concatenated_tensors_lie_end_to_end() -> None:
    q, k = numbered(4, 2), numbered(2, 2, start=100)
    loaded = load(Memory({"q": q, "k": k}), {"qk": ParamRecipe((("q", "k"),), (6, 2))})
    np.testing.assert_array_equal(loaded["qk"], np.concatenate([q, k]))


def test_layers_are_stacked() -> None:
    tensors = {f"{part}{layer}": numbered(2, 3, start=10 * layer) for layer in range(3) for part in "ab"}
    recipe = ParamRecipe(tuple((f"a{layer}", f"b{layer}") for layer in range(3)), (3, 4, 3), stacked=True)
    loaded = load(Memory(tensors), {"p": recipe})
    expected = np.stack([np.concatenate([tensors[f"a{layer}"], tensors[f"b{layer}"]]) for layer in range(3)])
    np.testing.assert_array_equal(loaded["p"], expected)


def test_vectors_are_concatenated_too() -> None:
    loaded = load(Memory({"a": numbered(2), "b": numbered(3)}), {"p": ParamRecipe((("a", "b"),), (5,))})
    assert loaded["p"].tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("stored", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("wanted", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_casts_to_the_wanted_dtype(stored: Any, wanted: Any) -> None:
    weight = (np.arange(8, dtype=np.float32) / 7).astype(stored)
    loaded = load(Memory({"w": weight}), {"p": ParamRecipe((("w",),), (8,))}, wanted)["p"]
    assert loaded.dtype == np.dtype(wanted)
    np.testing.assert_array_equal(loaded.astype(np.float32), weight.astype(wanted).astype(np.float32))


def test_one_tensor_may_feed_two_parameters() -> None:
    recipe = ParamRecipe((("w",),), (2,))
    loaded = load(Memory({"w": numbered(2)}), {"p": recipe, "q": recipe})
    assert loaded["p"].tolist() == loaded["q"].tolist() == [0, 1]
    assert not np.shares_memory(loaded["p"], loaded["q"])


def test_place_is_asked_once_a_parameter_and_its_answer_is_returned() -> None:
    source = Memory({"a": numbered(2), "b": numbered(3)})
    recipes = {"q": ParamRecipe((("b",),), (3,)), "p": ParamRecipe((("a",),), (2,))}
    asked: list[str] = []

    def place(name: str, array: np.ndarray) -> str:
        asked.append(name)
        return f"{name}:{array.size}"

    assert load_params(source, recipes, np.float32, place=place) == {"q": "q:3", "p": "p:2"}
    assert asked == ["q", "p"]


def test_a_placed_array_is_never_written_again() -> None:
    # A device may keep the host buffer as its own: later parameters must not share memory with it.
    source = Memory({name: numbered(64) for name in "abc"})
    loaded = load(source, {name: ParamRecipe(((name,),), (64,)) for name in "abc"})
    assert not np.shares_memory(loaded["a"], loaded["b"])
    assert not np.shares_memory(loaded["b"], loaded["c"])
    assert all(array.ctypes.data % 64 == 0 for array in loaded.values())


def test_progress_counts_tensors_up_to_the_total() -> None:
    source = Memory({name: numbered(2) for name in "abc"})
    recipes = {"ab": ParamRecipe((("a", "b"),), (4,)), "c": ParamRecipe((("c",),), (2,))}
    heard: list[tuple[int, int]] = []
    load_params(
        source,
        recipes,
        np.float32,
        place=lambda name, array: array,
        on_progress=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(2, 3), (3, 3)]


def test_all_problems_are_listed_at_once() -> None:
    source = Memory({"a": numbered(2, 3), "b": numbered(4, 3), "extra.weight": numbered(1)})
    recipes = {
        "gone": ParamRecipe((("missing.weight",),), (2, 3)),
        "wide": ParamRecipe((("a",),), (2, 5)),
        "fused": ParamRecipe((("a", "b"),), (7, 3)),
    }
    text = complaint(source, recipes)
    assert "1 missing:\n- missing.weight" in text
    assert "a: got [2, 3], expected [2, 5]" in text
    assert "a + b: got [2, 3] + [4, 3], expected [7, 3] in all" in text
    assert "1 not part of this architecture:\n- extra.weight" in text


@pytest.mark.parametrize("shape", [(6,), (3, 2, 1), (2, 3), ()])
def test_another_rank_is_misshapen(shape: tuple[int, ...]) -> None:
    text = complaint(Memory({"w": numbered(*shape)}), {"p": ParamRecipe((("w",),), (3, 2))})
    assert f"w: got {list(shape)}, expected [3, 2]" in text


def test_long_lists_are_cut() -> None:
    names = tuple((f"layer{index:03d}",) for index in range(50))
    text = complaint(Memory({}), {"p": ParamRecipe(names, (50, 2), stacked=True)})
    assert "50 missing" in text
    assert "layer000" in text
    assert "layer049" not in text
    assert "and 40 more" in text


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.11.self_attn.masked_bias",
        "lm_head.weight",
        "rope_freqs.weight",
    ],
)
def test_harmless_extras_are_ignored(name: str) -> None:
    source = Memory({"w": numbered(2), name: numbered(7)})
    assert load(source, {"p": ParamRecipe((("w",),), (2,))})["p"].tolist() == [0, 1]
    assert source.reads == ["w"]


def test_a_bias_that_the_model_lacks_is_not_harmless() -> None:
    # Leaving it out would give another model's text without a word.
    source = Memory({"w": numbered(2), "model.layers.0.self_attn.q_proj.bias": numbered(2)})
    assert "q_proj.bias" in complaint(source, {"p": ParamRecipe((("w",),), (2,))})
