"""One root for everything this tool refuses to do.

Whoever runs a test or a make target wants one line that says what is wrong and
one that says what to do, so an error cannot be built without a remedy. Log
tails travel beside the message, not in it.
"""

from __future__ import annotations

__all__ = ["BinariesUnavailableError", "ClusterChoiceError", "LocalClusterError", "NodeUnavailableError", "StartError"]


class LocalClusterError(Exception):
    """Something about the local cluster that the reader can put right."""

    def __init__(self, message: str, *, remedy: str, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        text = f"{self.message}\n  What to do: {self.remedy}"
        return f"{text}\n{self.details}" if self.details else text


class BinariesUnavailableError(LocalClusterError):
    """The programs of the control plane can be neither found nor made."""


class ClusterChoiceError(LocalClusterError):
    """CLUSTER names no cluster that can be used."""


class StartError(LocalClusterError):
    """A program of the control plane did not start, or died."""


class NodeUnavailableError(LocalClusterError):
    """A node can not run on this machine."""
