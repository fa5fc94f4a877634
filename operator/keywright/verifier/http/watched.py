"""Which headers a handler wants to see, apart: those that may carry a key, and those that tell of the request."""

from collections.abc import Iterable

from keywright.verifier.http.shapes import Shapes

__all__ = ["Watched"]


class Watched:
    """Header names in lower case. One object for good, so that open connections see it change."""

    __slots__ = ("carriers", "shapes", "telling")

    def __init__(self, telling: Iterable[bytes] = ()) -> None:
        self.carriers: set[bytes] = set()
        self.telling = frozenset(telling)
        self.shapes = Shapes()

    def carry(self, carriers: Iterable[bytes]) -> None:
        """Take keys from these headers, and no others, from the next request on."""
        self.carriers.clear()
        self.carriers.update(carriers)
        self.shapes.forget()
