"""The real worker around a core that misbehaves on request. Run as a script, in the worker's place.

`model_path` chooses the behaviour: "config-error", "load-error", "bug" fail the build; "slow-build"
never ends it; "crash" fails in the first step; "stuck" never ends a step; "garbage" sends bytes that
are no message; anything else works. Tokens count up from the prompt's first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, ModelLoadError
from sgl_jax.engine.messages import ControlReply, EngineInfo, Finish, GenerateRequest, Phase, StepOutputs, TokenDelta
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.ipc import worker


class StubCore:
    def __init__(self, config: EngineConfig) -> None:
        self.mode = config.model_path
        self.live: dict[str, tuple[GenerateRequest, int]] = {}
        self.steps = 0
        self.is_paused = False
        self.info = EngineInfo(
            model_path=config.model_path,
            architecture="Stub",
            vocab_size=1000,
            max_model_len=1 << 20,
            max_total_tokens=1 << 20,
            max_running_requests=64,
            eos_token_ids=[],
            dtype="float32",
            device="stub",
        )

    def submit(self, request: GenerateRequest) -> None:
        if request.prompt_ids == [666]:
            raise RuntimeError("an unlucky prompt")
        self.live[request.request_id] = (request, 0)

    def abort(self, request_ids: Sequence[str]) -> None:
        for request_id in request_ids:
            self.live.pop(request_id, None)

    def has_work(self) -> bool:
        return bool(self.live) and not self.is_paused

    def step(self) -> StepOutputs:
        if self.mode == "crash":
            raise RuntimeError("the device is gone")
        if self.mode == "stuck":
            time.sleep(3600)
        time.sleep(0.001)
        self.steps += 1
        outputs = StepOutputs([], [])
        for request_id, (request, count) in list(self.live.items()):
            last = count + 1 == request.sampling.max_new_tokens
            outputs.request_ids.append(request_id)
            outputs.deltas.append(
                TokenDelta([request.prompt_ids[0] + count], Finish(reason="length") if last else None)
            )
            self.live[request_id] = (request, count + 1)
            if last:
                del self.live[request_id]
        return outputs

    def control(self, control_id: str, verb: str) -> ControlReply:
        if verb in ("pause", "continue"):
            self.is_paused = verb == "pause"
        stats = EngineStats(running=len(self.live), steps_total=self.steps)
        return ControlReply(control_id=control_id, stats=stats if verb == "stats" else None)

    def close(self) -> None:
        pass


def build_core(config: EngineConfig, on_phase: Callable[[Phase], None]) -> StubCore:
    on_phase(Phase("loading"))
    match config.model_path:
        case "config-error":
            raise ConfigError("--max-seq-len is too large for this model.")
        case "load-error":
            raise ModelLoadError("config.json is missing.")
        case "bug":
            raise ZeroDivisionError("oops")
        case "slow-build":
            time.sleep(3600)
        case "garbage":
            on_phase(b"\xc1 no message")  # type: ignore[arg-type]
    on_phase(Phase("compiling", 1, 2))
    on_phase(Phase("ready"))
    return StubCore(config)


if __name__ == "__main__":
    startup = ModuleType("sgl_jax.engine.startup")
    startup.build_core = build_core  # type: ignore[attr-defined]
    sys.modules["sgl_jax.engine.startup"] = startup
    sys.exit(worker.main())
