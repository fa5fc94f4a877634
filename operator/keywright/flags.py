"""Flags and their environment twins, as the processes that serve requests are told their settings."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from keywright.domain.names import NAMESPACE
from keywright.domain.times import parse_duration
from keywright.errors import KeywrightError

__all__ = [
    "Given",
    "add_flag",
    "add_switch",
    "check_namespaces",
    "check_tls",
    "parse_boolean",
    "parse_interval",
    "parse_on_off",
    "parse_positive",
    "twin_of",
]

T = TypeVar("T")


def twin_of(name: str) -> str:
    """The environment variable that says the same as the flag."""
    return "KEYWRIGHT_" + name.upper().replace("-", "_")


def add_flag(parser: argparse.ArgumentParser, name: str, meaning: str, metavar: str, *, repeats: bool = False) -> None:
    """Declare a flag with a value, which :class:`Given` checks whichever way it came."""
    twin = twin_of(name) + (", comma-separated" if repeats else "")
    action = "append" if repeats else "store"
    parser.add_argument(f"--{name}", metavar=metavar, action=action, default=None, help=f"{meaning} [{twin}]")


def add_switch(parser: argparse.ArgumentParser, name: str, meaning: str) -> None:
    """Declare a flag without a value; its twin says true or false."""
    parser.add_argument(
        f"--{name}", action="store_const", const="true", default=None, help=f"{meaning} [{twin_of(name)}=true]"
    )


@dataclass(frozen=True, slots=True)
class Given:
    """What was given at the start. A flag wins over its twin; an empty twin says nothing."""

    arguments: argparse.Namespace
    environment: Mapping[str, str]

    def read(self, name: str, parse: Callable[[str], T], default: T, form: str) -> T:
        """One value, or the default.

        Raises:
            KeywrightError: if ``parse`` raises ValueError, naming the flag and ``form``, what it should look like.

        """
        text: str | None = self._argument(name)
        if text is None:
            text = self.environment.get(twin_of(name)) or None
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError:
            raise KeywrightError(f"--{name} {text!r} is not possible: use {form}") from None

    def several(self, name: str) -> tuple[str, ...]:
        """The values of a flag that repeats, each once, in order."""
        values: list[str] | None = self._argument(name)
        if values is None:
            values = self.environment.get(twin_of(name), "").split(",")
        return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))

    def _argument(self, name: str) -> Any:
        return getattr(self.arguments, name.replace("-", "_"), None)


def check_tls(cert: Path | None, key: Path | None, client_ca: Path | None) -> None:
    """Raise KeywrightError unless these make a TLS listener, or one without TLS."""
    if (cert is None) != (key is None):
        raise KeywrightError("--tls-cert and --tls-key belong together: give both, or neither")
    if client_ca is not None and cert is None:
        raise KeywrightError("--client-ca needs TLS: give --tls-cert and --tls-key too")


def check_namespaces(
    namespaces: tuple[str, ...],
    *,
    everywhere: bool = False,
    named_by: str = "--namespace",
    all_by: str = "--all-namespaces",
) -> None:
    """Raise KeywrightError for what no namespace can be called, or if some are named and all are asked for."""
    for each in namespaces:
        if not NAMESPACE.fullmatch(each):
            raise KeywrightError(f"{named_by} {each!r} is not possible: use the name of a namespace, as in payments")
    if everywhere and namespaces:
        raise KeywrightError(f"{named_by} and {all_by} exclude each other: give one of them")


def parse_positive(text: str) -> int:
    """Read a whole number from 1 to 65535; ValueError for anything else, as from all of these."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError(text)
    return number


def parse_interval(text: str) -> float:
    """Read a duration of a second or more, in seconds."""
    seconds = parse_duration(text).total_seconds()
    if seconds < 1:
        raise ValueError(text)
    return seconds


def parse_on_off(text: str) -> bool:
    """Read ``on`` or ``off``."""
    if text.lower() not in ("on", "off"):
        raise ValueError(text)
    return text.lower() == "on"


def parse_boolean(text: str) -> bool:
    """Read ``true`` or ``false``."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"
