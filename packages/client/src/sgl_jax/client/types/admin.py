"""What the server says about itself to those who run it."""

from __future__ import annotations

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


class Done(ServerModel):
    """That an order to the engine was carried out (`POST /flush_cache` and others).

    Attributes:
        output_dir: the folder, on the server, of a profile.
    """

    success: bool = True
    output_dir: str | None = None


class Aborted(ServerModel):
    """How many sequences an abort ended (`POST /abort_request`), None where the server does not say.

    It is no error to meet none.
    """

    aborted: int | None = None
