"""Shares of parameters, put next to each other again, are the parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.parallel.share import share_of
from sgl_jax.engine.parallel.split import Split, cut, find_split
from tools.tiny_model import tiny_config

SPEC = ModelSpec.from_hf_config(
    tiny_config("LlamaForCausalLM", tie=False, dtype="float32", num_attention_heads=8, num_key_value_heads=2)
)


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    count=st.sampled_from([1, 2, 3, 4, 8]),
    axis=st.sampled_from([-1, -2]),
)
def test_each_part_is_cut_by_itself(lengths: list[int], count: int, axis: int) -> None:
    """Parts of several shares each: shares of one part, device by device, are that part."""
    parts = tuple((length * count, length) for length in lengths)
    total = sum(length for length, _ in parts)
    shape = (3, total, 2) if axis == -2 else (2, 3, total)
    array = np.arange(np.prod(shape)).reshape(shape)
    shares = [cut(array, Split(axis, parts), index, count) for index in range(count)]
    start = share_start = 0
    for length, wanted in parts:
        pieces = [np.take(share, range(share_start, share_start + wanted), axis) for share in shares]
        np.testing.assert_array_equal(np.concatenate(pieces, axis), np.take(array, range(start, start + length), axis))
        start, share_start = start + length, share_start + wanted


def test_devices_that_share_a_key_head_have_the_one_of_their_queries() -> None:
    share = share_of(SPEC, 8)
    dim, hidden = SPEC.head_dim, SPEC.hidden_size
    split = find_split("self_attn.qkv_proj.weight", (12 * dim, hidden), (3 * dim, hidden), (SPEC, share))
    assert split is not None
    head = np.repeat(np.arange(12), dim)[:, None] * np.ones((1, hidden), int)
    found = [cut(head, split, index, 8)[::dim, 0].tolist() for index in range(8)]
    # Query heads 0 to 7; 0 to 3 belong to key head 8 and value head 10, the others to 9 and 11.
    assert found == [[index, 8 + index // 4, 10 + index // 4] for index in range(8)]


@pytest.mark.parametrize(("size", "count"), [(513, 2), (513, 4), (7, 4), (9, 8)])
def test_the_last_shares_of_a_vocabulary_are_padded(size: int, count: int) -> None:
    table = np.arange(1, size + 1)[:, None]
    share = -(-size // count)
    split = Split(-2, ((size, share),))
    shares = [cut(table, split, index, count) for index in range(count)]
    assert all(len(part) == share for part in shares)
    whole = np.concatenate(shares)[:, 0]
    assert whole.tolist() == [*range(1, size + 1), *[0] * (share * count - size)]


def test_what_has_one_shape_everywhere_is_not_cut() -> None:
    assert find_split("norm.weight", (64,), (64,), (SPEC, share_of(SPEC, 2))) is None
