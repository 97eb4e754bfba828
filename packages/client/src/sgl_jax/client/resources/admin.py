"""`client.admin`: for those who run the server. Where it has an `--admin-api-key`, that is the client's `api_key`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, Unpack

from sgl_jax.client._endpoint import Endpoint, ModelT, Run, json_as
from sgl_jax.client._requests import Reply
from sgl_jax.client.types.admin import Aborted, Done, EngineLoad, LoraAdapters, ModelInfo, ServerInfo
from sgl_jax.client.types.metrics import Metrics
from sgl_jax.client.types.params import RequestOptions

MetricsT = TypeVar("MetricsT")
ServerInfoT = TypeVar("ServerInfoT")
ModelInfoT = TypeVar("ModelInfoT")
DoneT = TypeVar("DoneT")
AbortedT = TypeVar("AbortedT")
LoadT = TypeVar("LoadT")
LoraT = TypeVar("LoraT")


def _json_or_words(model: type[ModelT]) -> Callable[[Reply], ModelT]:
    """A `parse` for answers in place of which other servers send a few words, or nothing but their status."""
    return lambda reply: model.model_validate_json(reply.body if reply.body.startswith(b"{") else b"{}")


def _loads(reply: Reply) -> list[EngineLoad]:
    """SGLang answers with one entry an engine, and formerly with a single object."""
    read = json.loads(reply.body)
    return [EngineLoad.model_validate(one) for one in (read if isinstance(read, list) else [read])]


METRICS = Endpoint("GET", "/metrics", parse=lambda reply: Metrics.parse(reply.body.decode()))
SERVER_INFO = Endpoint("GET", "/get_server_info", parse=json_as(ServerInfo))
MODEL_INFO = Endpoint("GET", "/get_model_info", parse=json_as(ModelInfo))
FLUSH_CACHE = Endpoint("POST", "/flush_cache", parse=_json_or_words(Done), repeatable=True)
ABORT = Endpoint("POST", "/abort_request", parse=_json_or_words(Aborted), repeatable=True)
LOAD = Endpoint("GET", "/get_load", parse=_loads)
PAUSE = Endpoint("POST", "/pause_generation", parse=_json_or_words(Done), repeatable=True)
CONTINUE = Endpoint("POST", "/continue_generation", parse=_json_or_words(Done), repeatable=True)
# Sent twice, these are refused the second time.
START_PROFILE = Endpoint("POST", "/start_profile", parse=_json_or_words(Done))
STOP_PROFILE = Endpoint("POST", "/stop_profile", parse=_json_or_words(Done))
LOAD_LORA = Endpoint("POST", "/load_lora_adapter", parse=json_as(LoraAdapters))
UNLOAD_LORA = Endpoint("POST", "/unload_lora_adapter", parse=json_as(LoraAdapters))


class Admin(Generic[MetricsT, ServerInfoT, ModelInfoT, DoneT, AbortedT, LoadT, LoraT]):
    """`client.admin.metrics()` and the like. Liveness and readiness are `client.health`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def metrics(self, **options: Unpack[RequestOptions]) -> MetricsT:
        """The server's Prometheus metrics, parsed."""
        metrics: MetricsT = self._run(METRICS.call(params={"extra_headers": {"accept": "text/plain"}, **options}))
        return metrics

    def server_info(self, **options: Unpack[RequestOptions]) -> ServerInfoT:
        """Version, phase, settings and counters of the server."""
        info: ServerInfoT = self._run(SERVER_INFO.call(params=options))
        return info

    def model_info(self, **options: Unpack[RequestOptions]) -> ModelInfoT:
        """Facts about the served model."""
        info: ModelInfoT = self._run(MODEL_INFO.call(params=options))
        return info

    def flush_cache(self, **options: Unpack[RequestOptions]) -> DoneT:
        """Forgets all cached prefixes; running requests keep theirs."""
        done: DoneT = self._run(FLUSH_CACHE.call({}, options))
        return done

    def abort(self, rid: str, **options: Unpack[RequestOptions]) -> AbortedT:
        """Ends the requests that were sent with this `rid`, or whose answer has this `id`."""
        aborted: AbortedT = self._run(ABORT.call({"rid": rid}, options))
        return aborted

    def abort_all(self, **options: Unpack[RequestOptions]) -> AbortedT:
        """Ends all requests."""
        aborted: AbortedT = self._run(ABORT.call({"abort_all": True}, options))
        return aborted

    def load(self, **options: Unpack[RequestOptions]) -> LoadT:
        """How much there is to do, for each of the server's engines: what a router asks."""
        load: LoadT = self._run(LOAD.call(params=options))
        return load

    def pause(self, mode: Literal["in_place", "abort"] = "in_place", **options: Unpack[RequestOptions]) -> DoneT:
        """Has the engine compute nothing until `continue_`; requests are taken, and wait.

        Args:
            mode: what becomes of the requests under way: they stay where they are, or end with reason `abort`.
        """
        done: DoneT = self._run(PAUSE.call({"mode": mode}, options))
        return done

    def continue_(self, **options: Unpack[RequestOptions]) -> DoneT:
        """Goes on after a `pause`."""
        done: DoneT = self._run(CONTINUE.call({}, options))
        return done

    def start_profile(self, **options: Unpack[RequestOptions]) -> DoneT:
        """Begins to record what the device does; `output_dir` of the answer is a folder on the server."""
        done: DoneT = self._run(START_PROFILE.call({}, options))
        return done

    def stop_profile(self, **options: Unpack[RequestOptions]) -> DoneT:
        """Ends the recording and writes it; raises `BadRequestError` where there is none."""
        done: DoneT = self._run(STOP_PROFILE.call({}, options))
        return done

    def load_lora_adapter(
        self, lora_name: str, lora_path: str, *, pinned: bool | None = None, **options: Unpack[RequestOptions]
    ) -> LoraT:
        """Loads a LoRA adapter under a name that requests may then give, on servers of SGLang.

        SGL-JAX has no LoRA yet: it raises `NotFoundError`.

        Args:
            lora_path: a folder on the server, or a hub id.
            pinned: keep it in memory, whatever else is asked for.
        """
        body: dict[str, Any] = {"lora_name": lora_name, "lora_path": lora_path}
        if pinned is not None:
            body["pinned"] = pinned
        adapters: LoraT = self._run(LOAD_LORA.call(body, options))
        return adapters

    def unload_lora_adapter(self, lora_name: str, **options: Unpack[RequestOptions]) -> LoraT:
        """Undoes `load_lora_adapter`; likewise."""
        adapters: LoraT = self._run(UNLOAD_LORA.call({"lora_name": lora_name}, options))
        return adapters
