"""Waiting for a server that is still loading and compiling, as steps (see `_requests`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sgl_jax.client._exceptions import NotReadyError
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import Call, Failure, Reply, Send, Sleep, Steps, build_request, error_of
from sgl_jax.client.resources.health import HEALTH, READY
from sgl_jax.client.resources.models import MODELS
from sgl_jax.client.types.server import Health

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
LONGEST_POLL = 5.0
"""Seconds for one question: a server that hangs must not use up the whole wait."""


def until_ready(
    options: ClientOptions, *, timeout: float, on_progress: Callable[[str], object] | None, clock: Callable[[], float]
) -> Steps[None]:
    """Asks until the server is ready.

    Servers without `/readyz` are ready when `/health` is, and those without either when they list their models.

    Args:
        options: the client's.
        timeout: seconds for all of it; at least one question is asked.
        on_progress: told the phase whenever it changes, `"ready"` last.
        clock: monotonic seconds.

    Raises `NotReadyError` with the last phase when time runs out, and at once where waiting cannot help: when the
    engine is dead, or (as the server's own error) when the key is wrong.
    """
    deadline = clock() + timeout
    told, pause = "", FIRST_PAUSE
    while True:
        ready, phase = yield from _ask(options, lambda: min(LONGEST_POLL, max(0.1, deadline - clock())))
        phase = "ready" if ready else phase
        if on_progress is not None and phase != told:
            on_progress(phase)
            told = phase
        if ready:
            return
        if phase == "dead":
            raise NotReadyError(f"The engine behind {options.root} died; the server's log says why.", phase=phase)
        left = deadline - clock()
        if left <= 0:
            raise NotReadyError(f"{options.root} was not ready after {timeout:g} s; last seen: {phase}.", phase=phase)
        yield Sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _ask(options: ClientOptions, time_left: Callable[[], float]) -> Steps[tuple[bool, str]]:
    """Whether the server is ready, and its phase in words."""
    phase = ""
    for endpoint in (READY, HEALTH, MODELS):
        call = endpoint.call(params={"timeout": time_left()})
        outcome = yield Send(build_request(call, options))
        if isinstance(outcome, Reply):
            if outcome.status in (401, 403):
                raise error_of(outcome)
            if outcome.status != 404:
                if endpoint is not READY or outcome.ok:
                    return outcome.ok and not phase, _phase(call, outcome)
                phase = _phase(call, outcome)  # not ready: /health may say more
            elif phase:
                break
        else:
            assert isinstance(outcome, Failure)
            return False, _silence(outcome)
    return False, phase or f"the server has none of {READY.path}, {HEALTH.path} and {MODELS.path}"


def _phase(call: Call, reply: Reply) -> str:
    """The phase that an answer tells, or its status."""
    if reply.ok or reply.status in call.accept:
        with contextlib.suppress(ValueError):
            answer = call.parse(reply)
            return answer.description if isinstance(answer, Health) else ""
    return f"status {reply.status} from {call.path}"


def _silence(failure: Failure) -> str:
    return f"no answer ({failure.error.__cause__ or failure.error.message})"
