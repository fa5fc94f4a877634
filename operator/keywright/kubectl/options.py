"""Flags that several commands have, as kubectl calls them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from click.shell_completion import CompletionItem

from keywright.domain.times import parse_duration
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Target, connect

__all__ = ["DURATION", "at_cluster", "form_option", "key_argument", "timeout_option", "with_target"]

Decorated = Callable[..., Any]
Decorator = Callable[[Decorated], Decorated]


class _Duration(click.ParamType[str]):
    """A duration as manifests write it; kept as the text."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


DURATION = _Duration()


def with_target(*, everywhere: bool = False) -> Decorator:
    """Give a command ``-n``, ``--context`` and ``--kubeconfig`` (and ``-A``), and hand it the ``Target``."""

    def decorate(command: Decorated) -> Decorated:
        @wraps(command)
        def run(**given: Any) -> Any:
            return command(target=_target(given), **given)

        flags = [
            click.option("-n", "--namespace", metavar="NAME", help="Default: that of the context."),
            click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
            click.option("--kubeconfig", metavar="FILE", type=click.Path(), help="Default: as kubectl."),
        ]
        if everywhere:
            flags.append(click.option("-A", "--all-namespaces", is_flag=True, help="Look in all namespaces."))
        decorated: Decorated = run
        for flag in reversed(flags):
            decorated = flag(decorated)
        return decorated

    return decorate


def at_cluster(*, everywhere: bool = False) -> Decorator:
    """As :func:`with_target`, but hand over the ``Cluster``, connected."""

    def decorate(command: Decorated) -> Decorated:
        @wraps(command)
        def run(*, target: Target, **given: Any) -> Any:
            return command(cluster=connect(target), **given)

        return with_target(everywhere=everywhere)(run)

    return decorate


def form_option(*forms: str) -> Decorator:
    """``-o``: a form for programs."""
    return click.option("-o", "--output", "form", type=click.Choice(forms), help="For programs. Never a hash.")


def timeout_option(command: Decorated) -> Decorated:
    """``--timeout``: how long to wait for the operator."""
    return click.option("--timeout", type=DURATION, default="60s", show_default=True, help="How long to wait.")(command)


def key_argument(*, several: bool = False) -> Decorator:
    """NAME: that of an ApiKey, a key id or a UID. Completed from the cluster."""
    if several:
        return click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete_names)
    return click.argument("name", metavar="NAME", shell_complete=_complete_names)


def _target(given: dict[str, Any]) -> Target:
    return Target(
        kubeconfig=given.pop("kubeconfig"),
        context=given.pop("context"),
        namespace=given.pop("namespace"),
        all_namespaces=given.pop("all_namespaces", False),
    )


def _complete_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        cluster: Cluster = connect(_target({"kubeconfig": None, "context": None, "namespace": None} | ctx.params))
        names = [each["metadata"]["name"] for each in cluster.list(APIKEYS)]
    except KeywrightError:
        # A shell that completes has no place for a message.
        return []
    return [CompletionItem(each) for each in names if each.startswith(incomplete)]
