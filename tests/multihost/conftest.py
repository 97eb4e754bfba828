"""Fixtures of other folders that are of use here."""

from tests.e2e.conftest import environ
from tests.parity.conftest import tiny_model

__all__ = ["environ", "tiny_model"]
