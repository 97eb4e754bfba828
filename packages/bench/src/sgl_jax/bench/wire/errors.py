"""What can go wrong between two sockets."""

from __future__ import annotations


class WireError(Exception):
    """An exchange did not come to its end. The message is one line for people."""


class ConnectError(WireError):
    """No connection could be made: nothing was sent."""


class BrokenAnswerError(WireError):
    """An answer began, or should have begun, and broke off or made no sense."""


class DroppedError(BrokenAnswerError):
    """The connection was closed before an answer began."""
