"""Compiles the engine's own step for an NVIDIA H200 on a machine without a GPU. Needs jax's CUDA plugin.

XLA's CUDA compiler takes a description of the device (`h200.txtpb`) instead of the device. What it makes is what it
would make there, but for autotuning: it cannot time, so it takes the first choice of GEMM tiles, and never cuBLAS in
place of Triton.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.mesh import AbstractDevice, AbstractMesh, use_abstract_mesh
from jax.experimental import topologies

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages
from sgl_jax.engine.attention.backends import PagedAttention
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.execution.batch import Layout
from sgl_jax.engine.execution.buckets import Bucket
from sgl_jax.engine.execution.build import step_model
from sgl_jax.engine.execution.load import with_forms
from sgl_jax.engine.execution.step import DeviceState, StepModel, make_step
from sgl_jax.engine.execution.step_memory import temporary_bytes
from sgl_jax.engine.quantization.formats import ON_LOAD, Q4_0, Q8_0
from sgl_jax.engine.sampling.adjust import LogitRules
from sgl_jax.engine.sampling_params import MAX_LOGIT_BIAS
from tools.deviceless_cudnn import cudnn_as_if_there
from tools.qwen3_shapes import MODELS

DEVICE_KIND = "NVIDIA H200"
PACKINGS = {**ON_LOAD, "q8_0": Q8_0, "q4_0": Q4_0}
"""`int4` is Q4_1."""
_TARGET = Path(__file__).with_name("h200.txtpb")
_PLUGINS = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")


@dataclasses.dataclass(frozen=True)
class Case:
    """A step to compile.

    Attributes:
        model: a key of `MODELS`.
        batch: sequences.
        tokens: of all sequences; as many as sequences in a step that decodes only.
        layers: how many; None is all.
        quantization: `none`, a value of `EngineConfig.quantization` that packs, or a form of GGUF.
        kv_dtype: elements of keys and values.
        num_pages: of each layer's pool. Prime, so that nothing else has its shape.
        page_size: tokens a page.
        fresh: whether all sequences are whole prompts.
    """

    model: str
    batch: int
    tokens: int | None = None
    layers: int | None = None
    quantization: str = "none"
    kv_dtype: str = "bfloat16"
    num_pages: int = 4099
    page_size: int = 16
    fresh: bool = False

    @property
    def bucket(self) -> Bucket:
        """The shape of the step."""
        single = self.tokens is None
        return Bucket(self.tokens or self.batch, self.batch, single, self.fresh)

    @property
    def spec(self) -> ModelSpec:
        """The model, cut to `layers`."""
        config = dict(MODELS[self.model])
        config["num_hidden_layers"] = self.layers or config["num_hidden_layers"]
        return ModelSpec.from_hf_config(config)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler left.

    Attributes:
        program: its memory analysis and its text.
        thunks: what is launched, line by line, as XLA dumps it.
        pool_bytes: of all layers' keys and values.
        pool_shape: of one layer's keys, as stored.
        packed_shapes: of the matrices that are packed.
        temp_bound: bytes of temporaries that the engine reckons with.
        layers: of the model.
        lower_s, compile_s: seconds that took.
    """

    program: jax.stages.Compiled
    thunks: str
    pool_bytes: int
    pool_shape: tuple[int, ...]
    packed_shapes: frozenset[tuple[int, int]]
    temp_bound: int
    layers: int
    lower_s: float
    compile_s: float


def plugin() -> str | None:
    """The CUDA plugin that is installed here, if one is."""
    for name in _PLUGINS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    return None


def compile_step(case: Case, attention: PagedAttention, options: Mapping[str, str | bool] | None = None) -> Compiled:
    """Lowers and compiles the step that an executor would run.

    Args:
        case: which one.
        attention: the backend.
        options: XLA's flags, without the dashes.
    """
    spec, place = case.spec, _place()
    plain = step_model(EngineConfig(model_path=""), spec, jnp.dtype(jnp.bfloat16), 40960, attention, on_cpu=False)
    model, packed_shapes = _packed(plain, case.quantization)
    layout = Layout(case.bucket, case.page_size, case.batch)
    shape = _Shapes(place)
    params = tuple(shape(leaf.shape, leaf.dtype) for leaf in _leaves(model))
    pools = tuple((_pages(case, spec, shape), _pages(case, spec, shape)) for _ in range(spec.num_layers))
    arguments = (
        params,
        pools,
        _state(spec, shape, case.page_size),
        shape((layout.size,), jnp.int32),
        shape((case.batch, -(-spec.vocab_size // 32)), jnp.uint32),
    )
    started = time.perf_counter()
    with use_abstract_mesh(_abstract_mesh()), cudnn_as_if_there():
        step = jax.jit(make_step(model, layout, max(2048, case.bucket.num_tokens)), donate_argnums=(1, 2))
        lowered = step.trace(*arguments).lower(lowering_platforms=("cuda",))
    lower_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        dump = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True, "xla_dump_hlo_pass_re": ""}
        program = lowered.compile(compiler_options={**(options or {}), **dump})
        (written,) = Path(folder).glob("*.thunk_sequence_after_thunk_passes.txt")
        thunks = written.read_text()
    compile_s = time.perf_counter() - started - lower_s
    pages = pools[0][0]
    leaves = jax.tree.leaves(pools)
    return Compiled(
        program,
        thunks,
        pool_bytes=sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves),
        pool_shape=pages.shape,
        packed_shapes=packed_shapes,
        temp_bound=temporary_bytes(spec, case.batch, case.bucket.num_tokens),
        layers=spec.num_layers,
        lower_s=lower_s,
        compile_s=compile_s,
    )


class _Shapes:
    """Arrays that are only shapes, on the device that is only described."""

    def __init__(self, place: jax.sharding.Sharding) -> None:
        self._place = place

    def __call__(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self._place)  # type: ignore[no-untyped-call]


def _place() -> jax.sharding.Sharding:
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=_TARGET.read_text(encoding="utf-8"), topology="1x1x1"
    )
    mesh = topologies.make_mesh(topo=topology, mesh_shape=(1,), axis_names=("x",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())  # type: ignore[no-untyped-call]


def _abstract_mesh() -> AbstractMesh:
    """Tells JAX's lowering rules (Pallas asks) what the device will be."""
    device = AbstractDevice(device_kind=DEVICE_KIND, num_cores=132, platform="cuda")
    return AbstractMesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,), abstract_device=device)


def _packed(model: StepModel, quantization: str) -> tuple[StepModel, frozenset[tuple[int, int]]]:
    """The model with all layers' matrices packed, and the shapes of these."""
    if quantization == "none":
        return model, frozenset()
    form = PACKINGS[quantization]
    leaves = [(path, run.layer.leaves[path].shape) for run in model.runs for path in run.layer.packable]
    fitting = {path: shape for path, shape in leaves if form.fits(shape)}
    shapes = frozenset((shape[-2], shape[-1]) for shape in fitting.values())
    return with_forms(model, dict.fromkeys(fitting, form)), shapes


def _leaves(model: StepModel) -> list[jax.ShapeDtypeStruct]:
    leaves = list(model.ends.leaves.values())
    for run in model.runs:
        leaves += list(run.layer.leaves.values()) * run.length
    return leaves


def _pages(case: Case, spec: ModelSpec, shape: _Shapes) -> Pages:
    dtype = jnp.dtype(case.kv_dtype)
    stored = (case.num_pages, case.page_size, spec.cache.heads, spec.cache.head_dim)
    scale = shape(stored[:-1], jnp.float32) if dtype == jnp.int8 else None
    return Pages(shape(stored, kv_write.stored_dtype(dtype, "gpu")), scale, dtype)


def _state(spec: ModelSpec, shape: _Shapes, page_size: int, slots: int = 256) -> DeviceState:
    rules = LogitRules(
        shape((slots, spec.vocab_size), jnp.uint16),
        shape((slots, 3), jnp.float32),
        shape((slots,), jnp.int32),
        shape((slots, MAX_LOGIT_BIAS), jnp.int32),
        shape((slots, MAX_LOGIT_BIAS), jnp.float32),
    )
    pages_a_slot = spec.max_position_embeddings // page_size
    return DeviceState(shape((slots,), jnp.int32), shape((slots, pages_a_slot), jnp.int32), rules)
