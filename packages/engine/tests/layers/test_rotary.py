"""Rotation and the rules that stretch it. (The goldens in tests/parity compare whole models with transformers.)"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.config.model_spec import rope_spec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.rope_scaling import make_rope
from sgl_jax.engine.layers.rotary import no_rotation, rotate, rotation

DIM = 8
CONFIG = {"rope_theta": 100.0, "max_position_embeddings": 64}
PLAIN = 100.0 ** (-np.arange(0, DIM, 2) / DIM)
DIVISORS = {"short_factor": [1, 1, 2, 2], "long_factor": [1, 2, 4, 8]}


def rope_of(max_seq_len=64, **scaling):
    return make_rope(rope_spec({**CONFIG, "rope_scaling": scaling or None}, DIM), max_seq_len)


def as_complex(x, *, interleaved):
    half = DIM // 2
    return x[..., 0:DIM:2] + 1j * x[..., 1:DIM:2] if interleaved else x[..., :half] + 1j * x[..., half:DIM]


@pytest.mark.parametrize("interleaved", [False, True])
def test_pairs_turn_as_complex_numbers(interleaved):
    x = np.random.default_rng(0).standard_normal((5, 2, DIM + 3)).astype(np.float32)
    positions = np.asarray([0, 1, 7, 63, 1000])
    turned = np.asarray(rotate(jnp.asarray(x), rotation(jnp.asarray(positions), rope_of()), interleaved=interleaved))
    expected = as_complex(x, interleaved=interleaved) * np.exp(1j * positions[:, None] * PLAIN)[:, None]
    np.testing.assert_allclose(as_complex(turned, interleaved=interleaved), expected, atol=2e-4)
    np.testing.assert_array_equal(turned[..., DIM:], x[..., DIM:])  # partial rotation


def test_no_rotation_changes_not_a_bit():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, DIM)).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(rotate(x, rotation(jnp.arange(3), no_rotation(DIM)))), np.asarray(x))


def test_dynamic_angles_depend_on_the_position_alone():
    rope = rope_of(rope_type="dynamic", factor=4.0)
    together = rotation(jnp.asarray([3, 63, 64, 200]), rope)
    for index, position in enumerate([3, 63, 64, 200]):
        growth = max(4.0 * (position + 1) / 64 - 3.0, 1.0)
        base = 100.0 * growth ** (DIM / (DIM - 2))
        angles = position * base ** (-np.arange(0, DIM, 2) / DIM)
        np.testing.assert_allclose(np.asarray(together[0][index]), np.cos(angles), atol=1e-4)
        alone = rotation(jnp.asarray([position]), rope)
        np.testing.assert_array_equal(np.asarray(alone[1][0]), np.asarray(together[1][index]))


def test_longrope_takes_the_set_of_the_longest_sequence_allowed():
    scaling = {"type": "su", "original_max_position_embeddings": 16, **DIVISORS}
    short, long = rope_of(16, **scaling), rope_of(17, **scaling)
    np.testing.assert_allclose(short.frequencies, PLAIN / [1, 1, 2, 2], rtol=1e-6)
    np.testing.assert_allclose(long.frequencies, PLAIN / [1, 2, 4, 8], rtol=1e-6)
    assert short.magnitude == long.magnitude == pytest.approx(math.sqrt(1 + math.log(4) / math.log(16)))


@pytest.mark.parametrize(
    ("extra", "magnitude"),
    [
        ({}, 0.1 * math.log(4) + 1),
        ({"attention_factor": 1.0}, 1.0),
        ({"mscale": 2.0, "mscale_all_dim": 1.0}, (0.2 * math.log(4) + 1) / (0.1 * math.log(4) + 1)),
    ],
)
def test_yarn_magnitudes(extra, magnitude):
    rope = rope_of(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, **extra)
    assert rope.magnitude == pytest.approx(magnitude)
    ratio = rope.frequencies / PLAIN
    assert (np.diff(ratio) <= 1e-6).all()  # short waves are kept, long ones divided
    assert ratio[-1] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "spiral"}, "spiral.*linear"),
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "linear", "factor": "two"}, "linear"),
        ({"rope_type": "linear", "factor": 0}, "linear"),
        ({"rope_type": "longrope", **DIVISORS, "short_factor": [1, 2]}, "expected 4 divisors"),
    ],
)
def test_bad_rules_say_what_is_wrong(scaling, message):
    with pytest.raises(ModelLoadError, match=message):
        rope_of(**scaling)


def test_lengths_are_filled_in():
    spec = rope_spec({**CONFIG, "original_max_position_embeddings": 32, "rope_scaling": {"type": "yarn"}}, DIM)
    assert (spec.max_length, spec.trained_length) == (64, 32)
