"""Errors that a user can do something about; the command line prints them as one line and exits with 2."""

from __future__ import annotations


class BenchError(Exception):
    """Base of the errors raised on purpose. The message is one line that says what to change."""


class WorkloadError(BenchError):
    """The workload cannot be built as asked: a missing, unreadable or empty file."""


class ResultsError(BenchError):
    """A results file cannot be written, or cannot be read."""


class CompareError(BenchError):
    """Runs cannot be compared as asked."""


class ThresholdError(CompareError):
    """A limit is not written as limits are."""


class UnusableServerError(BenchError):
    """The server cannot be measured at all: nobody answers, the key is refused, no model can be named."""


class PortInUseError(BenchError):
    """The mock server cannot listen where it was told to."""
