"""What the server says about itself to those who run it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sgl_jax.client.types._base import ServerModel


class ModelInfo(ServerModel):
    """Facts about the model (`GET /get_model_info`). Other servers name some of them otherwise, or leave them out."""

    model_path: str = ""
    served_model_name: str | None = None
    architecture: str | None = None
    is_generation: bool = True
    max_model_len: int | None = None
    vocab_size: int | None = None
    dtype: str | None = None
    weight_version: str | None = None


class EngineStats(ServerModel):
    """The engine's counters since start-up (`..._total`), and what is so at this moment (`running`, `waiting`)."""

    running: int | None = None
    waiting: int | None = None
    pages_total: int | None = None
    pages_free: int | None = None


class ServerInfo(ServerModel):
    """The server's facts and counters (`GET /get_server_info`)."""

    version: str | None = None
    served_model_name: str | None = None
    phase: str | None = None
    stats: EngineStats = Field(default_factory=EngineStats)


class EngineLoad(ServerModel):
    """How much one engine has to do (an entry of `GET /get_load`).

    Attributes:
        num_reqs: running and waiting requests.
        num_tokens: tokens that running requests hold in the KV cache.
    """

    dp_rank: int | None = 0
    num_reqs: int | None = None
    num_waiting_reqs: int | None = None
    num_tokens: int | None = None


class Done(ServerModel):
    """That an order to the engine was carried out (`POST /flush_cache` and others).

    Attributes:
        message: the same in words.
        output_dir: the folder, on the server, of a profile.
    """

    success: bool = True
    status: str | None = None
    message: str | None = None
    output_dir: str | None = None


class Aborted(ServerModel):
    """How many sequences an abort ended (`POST /abort_request`), None where the server does not say.

    It is no error to meet none.
    """

    aborted: int | None = None


class LoraAdapters(ServerModel):
    """The outcome of loading or unloading a LoRA adapter, with all that are loaded by name."""

    success: bool = True
    error_message: str | None = None
    loaded_adapters: dict[str, Any] | None = None
