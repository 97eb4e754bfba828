from __future__ import annotations

import re
import socket

import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.listener import bind, next_free_port


def test_it_listens_from_the_start() -> None:
    with bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        pass


def test_a_taken_port_is_named_with_a_free_one() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind("127.0.0.1", port)
    said = re.search(r"Port (\d+) on 127\.0\.0\.1 is in use.*--port=(\d+) is free", str(caught.value))
    assert said is not None
    assert int(said[1]) == port
    assert int(said[2]) > port


def test_the_free_port_is_really_free() -> None:
    with bind("127.0.0.1", 0) as first:
        free = next_free_port("127.0.0.1", first.getsockname()[1])
        assert free is not None
        with bind("127.0.0.1", free):
            pass


def test_there_is_no_port_above_the_last() -> None:
    assert next_free_port("127.0.0.1", 65535) is None


def test_a_foreign_address_is_explained() -> None:
    # 192.0.2.0/24 is reserved for documentation: no machine has it.
    with pytest.raises(ConfigError, match=r"no address of this machine; try --host=127\.0\.0\.1"):
        bind("192.0.2.1", 0)
