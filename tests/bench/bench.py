"""What every measure gets: how long it may take, which cores are whose, a folder, and the shared control plane."""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from keywright_local import AuditLevel, ControlPlane, LocalClusterError
from tests.bench.machine import Cores, choose_cores
from tests.bench.measures import SkippedError

__all__ = ["ROOT", "Bench"]

ROOT = Path(__file__).parents[2]

T = TypeVar("T")


class Bench:
    """One run of the suite; close it to end everything that it started."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.cores: Cores = choose_cores()
        self._stack = contextlib.ExitStack()
        self._plane: ControlPlane | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def choose(self, full: T, quick: T) -> T:
        """One of two sizes."""
        return quick if self.quick else full

    def plane(self) -> ControlPlane:
        """The control plane that all measures of this run share, with CRDs and roles; started when first asked for.

        Raises:
            SkippedError: where its programs can neither be found nor built.

        """
        if self._plane is None:
            # Only here, because it brings pytest with it.
            from tests.integration.conftest import install

            try:
                self._plane = self._stack.enter_context(ControlPlane(audit=True, audit_level=AuditLevel.METADATA))
            except LocalClusterError as error:
                raise SkippedError(f"no control plane: {error}") from None
            install(self._plane)
        return self._plane
