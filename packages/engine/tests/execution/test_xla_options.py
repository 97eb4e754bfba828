"""What we tell XLA, and that neither users nor versions of XLA are overruled by it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.execution.program_store import compile_with
from sgl_jax.engine.execution.xla_options import environment_flags, program_options


def test_what_the_user_says_stands():
    said = "--xla_gpu_experimental_force_split_k=4 --xla_gpu_enable_command_buffer= --xla_cpu_enable_fast_math=true"
    assert "xla_gpu_experimental_force_split_k" not in program_options("gpu", 1, {"XLA_FLAGS": said})
    assert not any("command_buffer" in flag for flag in environment_flags("cuda", 2, said))


def test_only_gpus_get_options_and_several_get_more():
    assert program_options("cpu", 2, {}) == {}
    assert program_options("gpu", 1, {}).items() < program_options("gpu", 2, {}).items()
    assert environment_flags("cuda", 1, "") == environment_flags("cpu", 1, "")


def test_a_node_makes_its_own_part_of_the_devices():
    assert "--xla_force_host_platform_device_count=4" in environment_flags("cpu", 8, "", nodes=2)
    assert not any("device_count" in flag for flag in environment_flags("cpu", 2, "", nodes=2))


def test_an_option_that_xla_does_not_know_is_left_out():
    lowered = jax.jit(lambda x: x + 1).lower(jnp.ones(3))
    program = compile_with(lowered, {"xla_no_such_option": "1", "xla_embed_ir_in_executable": True})
    assert program(jnp.ones(3)).tolist() == [2, 2, 2]
