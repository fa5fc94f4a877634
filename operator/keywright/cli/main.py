"""``keywright``: the processes and the CRDs. Each process loads only what it needs."""

import argparse
import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version

from keywright.cli import logs
from keywright.errors import KeywrightError

__all__ = ["main"]

LOG_FORMATS = ("human", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
EPILOG = """\
examples:
  keywright crds | kubectl apply -f -
  KUBECONFIG=~/.kube/config keywright operator --namespace payments
  keywright verifier --listen 127.0.0.1:8080 --namespace payments --class standard
  keywright console --namespace payments --class standard --tls-cert tls.crt --tls-key tls.key --listen 0.0.0.0:8443
  keywright rules test rules.yaml GET /api/agents/7 --scope agents:read

The cluster is the one of KUBECONFIG, or of the pod this runs in. Every flag has an environment twin KEYWRIGHT_….
exit status: 0 done, 1 something is wrong (one line says what to do), 2 wrong flags
"""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((each for each in arguments if not each.startswith("-")), None)
    try:
        parsed = _parser(command, environment).parse_args(arguments)
        _check_choices(parsed)
        logs.configure(form=parsed.log_format, level=parsed.log_level)
        if parsed.command == "operator":
            return _run_operator(parsed)
        if parsed.command == "verifier":
            return _run_verifier(parsed)
        if parsed.command == "console":
            return _run_console(parsed)
        if parsed.command == "rules":
            from keywright.cli import rules  # noqa: PLC0415 - each process loads only what it needs

            return rules.run(parsed)
        from keywright.api.crd import render_all  # noqa: PLC0415 - each process loads only what it needs

        print(render_all(), end="")
    except KeywrightError as error:
        print(f"keywright: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(command: str | None, environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keywright",
        allow_abbrev=False,
        description="API keys as Kubernetes resources.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"keywright {version('keywright')}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default=environment.get("KEYWRIGHT_LOG_FORMAT", "human"),
        help="form of the log lines on standard error (default: human; KEYWRIGHT_LOG_FORMAT)",
    )
    shared.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default=environment.get("KEYWRIGHT_LOG_LEVEL", "info"),
        help="least level that is logged (default: info; KEYWRIGHT_LOG_LEVEL)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = partial(
        commands.add_parser,
        parents=[shared],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What is nearly a flag is a mistake, and may have been meant to restrict.
        allow_abbrev=False,
    )
    operator = add("operator", help="issue keys: reconcile ApiKeys")
    verifier = add("verifier", help="judge requests against ApiKeys")
    console = add("console", help="let people and programs manage their keys: REST and pages for a browser")
    add("crds", help="print the CRDs as YAML")
    rules_parser = add("rules", help="test a rules file")
    if command == "operator":
        _require("kopf", "operator")
        from keywright.handlers import settings  # noqa: PLC0415 - each process loads only what it needs

        settings.add_arguments(operator)
    elif command == "verifier":
        _require("httptools", "verifier")
        from keywright.verifier import settings as verifier_settings  # noqa: PLC0415 - see above

        verifier_settings.add_arguments(verifier)
    elif command == "console":
        _require("fastapi", "console")
        from keywright.console import settings as console_settings  # noqa: PLC0415 - see above

        console_settings.add_arguments(console)
    elif command == "rules":
        from keywright.cli import rules  # noqa: PLC0415 - see above

        rules.add_arguments(rules_parser)
    return parser


def _check_choices(parsed: argparse.Namespace) -> None:
    """Argparse holds flags against their choices, but not the defaults that come from the environment."""
    for name, given, choices in (
        ("KEYWRIGHT_LOG_FORMAT", parsed.log_format, LOG_FORMATS),
        ("KEYWRIGHT_LOG_LEVEL", parsed.log_level, LOG_LEVELS),
    ):
        if given not in choices:
            raise KeywrightError(f"{name}: use one of {', '.join(choices)}")


def _require(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise KeywrightError(f"the {extra} is not installed: pip install '.[{extra}]' in the checkout")


def _run_operator(parsed: argparse.Namespace) -> int:
    from keywright.handlers.run import run  # noqa: PLC0415 - each process loads only what it needs
    from keywright.handlers.settings import from_arguments  # noqa: PLC0415 - see above
    from keywright.kube.credentials import load  # noqa: PLC0415 - see above

    settings, credentials = from_arguments(parsed), load()
    logging.getLogger(__name__).info("operator for %s (%s)", credentials.server, credentials.context)
    asyncio.run(run(settings, credentials))
    return 0


def _run_verifier(parsed: argparse.Namespace) -> int:
    from keywright.verifier.run import run  # noqa: PLC0415 - each process loads only what it needs
    from keywright.verifier.settings import from_arguments  # noqa: PLC0415 - see above

    return run(from_arguments(parsed))


def _run_console(parsed: argparse.Namespace) -> int:
    from keywright.console.run import run  # noqa: PLC0415 - each process loads only what it needs
    from keywright.console.settings import from_arguments  # noqa: PLC0415 - see above

    return run(from_arguments(parsed))
