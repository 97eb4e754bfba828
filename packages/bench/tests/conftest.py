from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer
from sgl_jax.bench.mock.thread import mock_server

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

StartMock = Callable[[MockBehaviour], MockServer]


@pytest.fixture
def start_mock() -> Iterator[StartMock]:
    """Start mock servers that stop when the test ends."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(mock_server(behaviour))
