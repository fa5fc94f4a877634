"""The flags of the processes and their environment twins, from what declares them."""

import argparse
import re
from typing import Any

from keywright.console import settings as console_settings
from keywright.handlers import settings as operator_settings
from keywright.verifier import settings as verifier_settings
from site_extension.markdown import code, plain, table

__all__ = ["render"]

DECLARED_BY = {
    "operator": operator_settings.add_arguments,
    "verifier": verifier_settings.add_arguments,
    "console": console_settings.add_arguments,
}

# Every flag names its twin at the end of its help.
_HELP = re.compile(r"(?P<meaning>.*) \[(?P<twin>KEYWRIGHT_\w+)(?P<form>[^\]]*)\]", re.DOTALL)


class _Noting(argparse.ArgumentParser):
    """Keeps what is declared, which argparse does not tell."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        self.declared: list[argparse.Action] = []

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.declared.append(action)
        return action


def render(command: str) -> str:
    """A table of the flags of ``keywright COMMAND``. A flag whose help names no twin fails the build."""
    parser = _Noting()
    DECLARED_BY[command](parser)
    return table(["flag", "in the environment", "meaning"], map(_row, parser.declared))


def _row(action: argparse.Action) -> tuple[str, str, str]:
    told = _HELP.fullmatch(action.help or "")
    if told is None:
        raise ValueError(f"the help of {action.option_strings} does not end with its twin: [KEYWRIGHT_…]")
    (flag,) = action.option_strings
    value = action.metavar or "|".join(action.choices or ())
    return code(f"{flag} {value}".strip()), code(told["twin"]) + told["form"], plain(told["meaning"])
