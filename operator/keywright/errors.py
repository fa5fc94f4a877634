"""The one root of Keywright's own errors.

A wrong key or a refused spec is a value (a verdict, a refusal), never an exception. What is raised under
this root is for a person: its text is one line, says what to do next, and never holds key material.
"""

__all__ = ["KeywrightError"]


class KeywrightError(Exception):
    """Something a person has to act on; ``str()`` is one printable line with the next step."""
