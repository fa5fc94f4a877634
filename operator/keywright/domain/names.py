"""What Kubernetes lets things be called."""

import re

__all__ = ["NAMESPACE"]

NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""A label of RFC 1123. The whole of a text has to match."""
