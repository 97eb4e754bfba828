"""Attention of a server's size, lowered and compiled for an NVIDIA H200 on a machine without a GPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.mesh import AbstractDevice, AbstractMesh, use_abstract_mesh
from jax.experimental import topologies

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages, RaggedRows
from sgl_jax.engine.attention.pallas_gpu.attention import pallas_attention
from tools.attention_cases import Shape

_ROWS, _TOKENS, _PAGES, _COLUMNS = 32, 512, 4099, 256


def lower_for_gpu(shape: Shape, place: jax.sharding.Sharding | None = None) -> jax.stages.Lowered:
    """To what XLA's CUDA compiler takes: Triton's representation of the kernels is in it.

    Args:
        shape: of the attention; 32 rows, of 512 tokens together unless each has one.
        place: where arguments lie, if it is to be compiled.
    """

    def array(dims: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(dims, jnp.dtype(dtype), sharding=place)  # type: ignore[no-untyped-call]

    pool = (_PAGES, shape.page_size, shape.kv_heads, shape.head_dim)
    dtype = jnp.dtype(shape.dtype)

    def pages() -> Pages:
        scale = array(pool[:-1], jnp.float32) if dtype == jnp.int8 else None
        return Pages(array(pool, kv_write.stored_dtype(dtype, "gpu")), scale, dtype)

    line = array((_ROWS,), jnp.int32)
    rows = RaggedRows(line, line, line, line, array((_ROWS, _COLUMNS), jnp.int32))
    query = array((_ROWS if shape.single else _TOKENS, shape.heads, shape.head_dim), shape.query_dtype)
    sinks = array((shape.heads,), jnp.float32) if shape.sinks else None

    def attend(
        query: jax.Array, keys: Pages, values: Pages | None, rows: RaggedRows, sinks: jax.Array | None
    ) -> jax.Array:
        return pallas_attention(
            *(query, keys, keys if values is None else values, rows),
            scale=shape.head_dim**-0.5,
            window=shape.window,
            softcap=shape.softcap,
            sinks=sinks,
            single_token_rows=shape.single,
        )

    device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="cuda")
    mesh = AbstractMesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), abstract_device=device)
    with use_abstract_mesh(mesh):
        traced = jax.jit(attend).trace(query, pages(), None if shape.shared else pages(), rows, sinks)
        lowered: jax.stages.Lowered = traced.lower(lowering_platforms=("cuda",))
        return lowered


def compile_for_gpu(shape: Shape) -> jax.stages.Compiled:
    """All the way to machine code.

    Raises:
        SystemExit: jax's CUDA plugin is not installed.
    """
    try:
        importlib.import_module("jax_plugins.xla_cuda13")
    except ImportError:
        raise SystemExit("jax's CUDA plugin is not installed here: `python -m tools.attention_bar --help`.") from None
    target = Path(__file__).with_name("h200.txtpb").read_text(encoding="utf-8")
    topology = topologies.get_topology_desc(platform="cuda", target_config=target, topology="1x1x1")
    mesh = topologies.make_mesh(topo=topology, mesh_shape=(1,), axis_names=("x",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())  # type: ignore[no-untyped-call]
    return lower_for_gpu(shape, place).compile()
