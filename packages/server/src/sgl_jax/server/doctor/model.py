"""The model and the port that the flags name."""

from __future__ import annotations

from collections.abc import Iterator

from sgl_jax.engine.config import model_files
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.hub_id import parse_hub_id
from sgl_jax.engine.errors import ConfigError, SglJaxError
from sgl_jax.engine.text.load import load_tokenizer
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.doctor.finding import Finding, gigabytes
from sgl_jax.server.listener import bind

_TOPIC = "this command line"


def check_model(config: EngineConfig) -> Iterator[Finding]:
    """Whether the model is all there. Nothing is downloaded."""
    name = f"--model-path={config.model_path}"
    if parse_hub_id(config.model_path) is not None:
        yield Finding(topic=_TOPIC, name=name, value="comes from the hub, when the server starts")
        return
    try:
        files = model_files.resolve(config.model_path, config.load_format)
        spec = files.spec()
        load_tokenizer(config)
    except SglJaxError as error:
        advice = "complete the download, or name another with --model-path"
        yield Finding(topic=_TOPIC, name=name, value=str(error), grade="failure", advice=advice)
        return
    size = sum(file.stat().st_size for file in files.weight_files)
    yield Finding(
        topic=_TOPIC,
        name=name,
        value=f"{spec.architecture}, {spec.num_layers} layers, {gigabytes(size)} of weights in "
        f"{len(files.weight_files)} {files.kind} file(s), up to {spec.max_position_embeddings} tokens",
    )


def check_port(config: ServerConfig) -> Iterator[Finding]:
    """Whether the server could listen where it is told to, and who could then reach it."""
    name = f"--host={config.host} --port={config.port}"
    try:
        bind(config.host, config.port).close()
    except ConfigError as error:
        advice = "the server would not start: choose another port, or end whoever listens there"
        yield Finding(topic=_TOPIC, name=name, value=str(error), grade="warning", advice=advice)
        return
    is_open = config.api_key is None and config.host not in ("127.0.0.1", "::1", "localhost")
    yield Finding(
        topic=_TOPIC,
        name=name,
        value="free" + (", and open to whoever reaches this machine" if is_open else ""),
        grade="warning" if is_open else "ok",
        advice="set SGL_JAX_API_KEY, or listen on 127.0.0.1" if is_open else None,
    )
