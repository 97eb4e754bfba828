"""A tiny model with real files, and a compile cache that lives as long as the test session."""

from __future__ import annotations

import pytest

from tools.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A seeded Llama of 2-3 layers with grouped heads."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), seed=1)
