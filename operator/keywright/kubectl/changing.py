"""``suspend``, ``resume``, ``revoke``, ``delete``: of several keys, where one that fails does not stop the others."""

import sys
from collections.abc import Callable, Sequence

import click

from keywright.api.finding import LONGEST, owned_by
from keywright.api.standing import Standing
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Manifest, RequestError
from keywright.kubectl.finding import find_key
from keywright.kubectl.options import at_cluster, key_argument
from keywright.kubectl.output import say
from keywright.kubectl.reading import print_list, standings

__all__ = ["delete", "resume", "revoke", "suspend"]

Change = Callable[[Cluster, Manifest], str]
"""Change one ApiKey, and say in one word what became of it."""


@click.command(epilog="\b\nexample:\n  kubectl apikey suspend ci-deploy reports")
@key_argument(several=True)
@at_cluster()
def suspend(cluster: Cluster, names: Sequence[str]) -> None:
    """Refuse keys until they are resumed. Acts at once."""
    _change_named(cluster, names, _suspend)


@click.command(epilog="\b\nexample:\n  kubectl apikey resume ci-deploy")
@key_argument(several=True)
@at_cluster()
def resume(cluster: Cluster, names: Sequence[str]) -> None:
    """Accept suspended keys again."""
    _change_named(cluster, names, _resume)


@click.command(epilog="\b\nexample:\n  kubectl apikey delete ci-deploy")
@key_argument(several=True)
@at_cluster()
def delete(cluster: Cluster, names: Sequence[str]) -> None:
    """Delete ApiKeys with their keys.

    Acts at once. Their Secrets go too, unless spec.secret.deletionPolicy is Retain.
    """
    _change_named(cluster, names, _delete)


@click.command(
    epilog="""\b
examples:
  kubectl apikey revoke ci-deploy --reason "seen in a log"
  kubectl apikey revoke --owner bob@example.com -A --reason "left the company"
  kubectl apikey revoke -l team=payments --yes

\b
Where keys are picked by owner or label they are listed first, and you are asked. Of names nothing is asked.
"""
)
@key_argument(several=True)
@at_cluster(everywhere=True)
@click.option("--owner", metavar="USER", help="All keys of this owner.")
@click.option("-l", "--selector", metavar="LABELS", help="All keys of these labels.")
@click.option("--reason", metavar="TEXT", help="Why; shown in the event and the conditions.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(
    cluster: Cluster, names: Sequence[str], owner: str | None, selector: str | None, reason: str | None, *, yes: bool
) -> None:
    """Refuse keys for ever. Acts at once; nothing brings them back."""

    def change(cluster: Cluster, found: Manifest) -> str:
        return _revoke(cluster, found, reason)

    for flag, value in (("--owner", owner), ("-l", selector)):
        if value is not None and not value.strip():
            # An API server reads an empty selector as one that picks everything.
            raise click.UsageError(f"{flag} is empty, which would pick too much: is a variable of your shell not set?")
    if names and (owner or selector):
        raise click.UsageError("give names, or --owner and -l, not both")
    if not owner and not selector:
        if cluster.scope is None:
            raise click.UsageError("-A goes with --owner or -l: a name is of one namespace")
        _change_named(cluster, names, change)
        return
    field_selector = owned_by(owner) if owner else None
    picked = list(cluster.list(APIKEYS, label_selector=selector, field_selector=field_selector))
    if not picked:
        where = f"namespace {cluster.scope}" if cluster.scope else "all namespaces"
        raise KeywrightError(
            f"nothing to revoke in {where}: compare owners and labels with kubectl apikey list -o wide"
        )
    live = [each for each in picked if not each["spec"].get("revoked")]
    if not live:
        say(f"nothing to do: all that were found ({len(picked)}) are revoked already")
        return
    if not yes:
        _confirm(standings(cluster, live), has_namespaces=cluster.scope is None)
    _change_all(cluster, live, change)


def _confirm(found: Sequence[Standing], *, has_namespaces: bool) -> None:
    print_list(found, has_namespaces=has_namespaces, to_stderr=True)
    count = f"{len(found)} key{'s' if len(found) > 1 else ''}"
    if not sys.stdin.isatty():
        raise KeywrightError(f"nothing was revoked: say --yes to revoke {count} without being asked")
    if not click.confirm(f"Revoke {count} for ever?", err=True):
        raise KeywrightError("nothing was revoked, as you wished")


def _change_named(cluster: Cluster, names: Sequence[str], change: Change) -> None:
    if not names:
        raise click.UsageError("name at least one ApiKey")
    _change_all(cluster, names, change)


def _change_all(cluster: Cluster, targets: Sequence[str | Manifest], change: Change) -> None:
    failed = 0
    for place, each in enumerate(targets, start=1):
        label = each if isinstance(each, str) else each["metadata"]["name"]
        try:
            found = find_key(cluster, each) if isinstance(each, str) else each
            done = change(cluster, found)
        except KeywrightError as error:
            # With one target there is nothing to go on with, and an API server that is away stays so for the rest.
            if len(targets) == 1 or (isinstance(error, RequestError) and error.status == 0):
                raise
            failed += 1
            # What is too long for a name may be a mistyped key.
            say(f"{label if len(label) <= LONGEST else f'argument {place}'}: {error}")
        else:
            metadata = found["metadata"]
            where = f" in namespace {metadata['namespace']}" if cluster.scope is None else ""
            click.echo(f"apikey/{metadata['name']} {done}{where}")
    if failed:
        raise KeywrightError(
            f"{failed} of {len(targets)} were not changed, for the reasons above: mend them and repeat"
        )


def _suspend(cluster: Cluster, found: Manifest) -> str:
    if found["spec"].get("suspended"):
        return "is suspended already"
    cluster.patch(APIKEYS, found, {"spec": {"suspended": True}})
    return "suspended"


def _resume(cluster: Cluster, found: Manifest) -> str:
    if found["spec"].get("revoked"):
        name = found["metadata"]["name"]
        raise KeywrightError(f"{name} is revoked, which is for ever: make a new one with kubectl apikey create")
    if not found["spec"].get("suspended"):
        return "is not suspended"
    cluster.patch(APIKEYS, found, {"spec": {"suspended": False}})
    return "resumed"


def _revoke(cluster: Cluster, found: Manifest, reason: str | None) -> str:
    if found["spec"].get("revoked"):
        return "is revoked already"
    stated = {"revocationReason": reason} if reason else {}
    cluster.patch(APIKEYS, found, {"spec": {"revoked": True} | stated})
    return "revoked"


def _delete(cluster: Cluster, found: Manifest) -> str:
    cluster.delete(APIKEYS, found)
    return "deleted"
