"""``create``."""

from datetime import UTC, datetime
from typing import Any

import click

from keywright.domain.times import format_instant, parse_duration, parse_instant
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Manifest, Target, connect
from keywright.kubectl.delivering import hand_over, status_of, wait_for_delivery
from keywright.kubectl.finding import check_length
from keywright.kubectl.options import DURATION, form_option, timeout_option, with_target
from keywright.kubectl.output import print_documents, say

__all__ = ["create"]


class _Instant(click.ParamType[str]):
    """RFC 3339, or a day, which ends the key as it begins (UTC)."""

    name = "instant"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            at = parse_instant(f"{value}T00:00:00Z" if len(value) == len("2027-01-01") else value)
        except ValueError:
            self.fail("write it as 2027-01-01 or 2027-01-01T12:00:00Z", param, ctx)
        if at <= datetime.now(UTC):
            self.fail("that is in the past", param, ctx)
        return format_instant(at)


@click.command(
    epilog="""\b
examples:
  kubectl apikey create ci-deploy
  KEY=$(kubectl apikey create ci-deploy --class partners --role readonly --ttl 90d)
  kubectl apikey create partner --once --display-name "Partner Ltd" --expires-at 2027-01-01
  kubectl apikey create ci-deploy --rotate-every 30d -o name      # the key stays in its Secret
  kubectl apikey create ci-deploy --dry-run client > ci-deploy.yaml

\b
Standard output holds the key, or with -o the object; everything else goes to standard error.
"""
)
@click.argument("name", metavar="NAME")
@with_target()
@click.option("--display-name", metavar="TEXT", help="Name for people. Default: NAME.")
@click.option("--description", metavar="TEXT", help="Who uses it, where and why. Never a secret.")
@click.option("--class", "class_name", metavar="CLASS", help="Default: the default class.")
@click.option("--role", help="A role of the class.")
@click.option("--scope", "scopes", metavar="SCOPE", multiple=True, help="As in agents:read; repeats.")
@click.option("--owner", metavar="USER", help="On whose behalf the key acts.")
@click.option("--owner-group", "groups", metavar="GROUP", multiple=True, help="A group of the owner; repeats.")
@click.option("--ttl", type=DURATION, help="How long each key lives, as in 90d.")
@click.option("--expires-at", type=_Instant(), help="When the ApiKey ends, as 2027-01-01 or RFC 3339.")
@click.option("--rotate-every", type=DURATION, help="Replace the key by itself, as in 30d.")
@click.option("--grace", type=DURATION, help="With --rotate-every: how long a replaced key works on.")
@click.option("--once", is_flag=True, help="Remove the Secret as soon as the key was printed.")
@click.option("--wait/--no-wait", default=None, help="For the key. Default: wait, but not with -o.")
@timeout_option
@click.option("--dry-run", type=click.Choice(["client", "server"]), help="Make nothing; print the object.")
@form_option("json", "yaml", "name")
def create(
    *, target: Target, name: str, wait: bool | None, timeout: str, dry_run: str | None, form: str | None, **asked: Any
) -> None:
    """Make a key, wait for it, and print it once."""
    check_length(name)
    _check(asked, dry_run=dry_run, wait=wait)
    manifest = _manifest(name, asked)
    if dry_run == "client":
        placed = manifest["metadata"] | ({"namespace": target.namespace} if target.namespace else {})
        print_documents([manifest | {"metadata": placed}], form or "yaml")
        return
    cluster = connect(target)
    made = cluster.create(APIKEYS, cluster.namespace, manifest, dry_run=dry_run is not None)
    if dry_run is not None:
        print_documents([made], form or "yaml")
        return
    say(f"apikey/{name} created in namespace {cluster.namespace}")
    if wait or (wait is None and form is None):
        try:
            made = wait_for_delivery(cluster, made, parse_duration(timeout))
        except KeyboardInterrupt:
            say(f"the ApiKey is there all the same: kubectl apikey reveal {name} prints its key")
            raise
        except KeywrightError:
            say(f"the ApiKey is there all the same: kubectl apikey delete {name} -n {cluster.namespace} takes it away")
            raise
    if form is not None:
        print_documents([made], form)
    elif wait is False:
        say(f"kubectl apikey reveal {name} prints its key")
    else:
        _deliver(cluster, made, is_once=asked["once"])


def _deliver(cluster: Cluster, made: Manifest, *, is_once: bool) -> None:
    name = made["metadata"]["name"]
    try:
        key_id = hand_over(cluster, made)
    except KeywrightError:
        say(f"apikey/{name} was issued, but its key could not be fetched: it is in its Secret")
        raise
    expires_at = status_of(made).expires_at
    until = f"works until {format_instant(expires_at)}" if expires_at else "works until it is revoked"
    again = "it is not shown again" if is_once else f"kubectl apikey reveal {name} prints it again"
    say(f"key {key_id} {until}; {again}")


def _check(asked: dict[str, Any], *, dry_run: str | None, wait: bool | None) -> None:
    if asked["ttl"] and asked["expires_at"]:
        raise click.UsageError("--ttl and --expires-at exclude each other: leave one of them out")
    if asked["grace"] and not asked["rotate_every"]:
        raise click.UsageError("--grace is of a rotation: give --rotate-every too")
    if asked["groups"] and not asked["owner"]:
        raise click.UsageError("--owner-group is of an owner: give --owner too")
    if dry_run and wait:
        raise click.UsageError("--dry-run makes nothing that could be waited for: leave --wait out")


def _manifest(name: str, asked: dict[str, Any]) -> Manifest:
    """The ApiKey that the flags describe; what they leave out is left out."""
    owner = {"user": asked["owner"], "groups": list(asked["groups"])} if asked["owner"] else None
    rotation = {"interval": asked["rotate_every"], "gracePeriod": asked["grace"]} if asked["rotate_every"] else None
    spec = {
        "displayName": asked["display_name"],
        "description": asked["description"],
        "className": asked["class_name"],
        "owner": _stated(owner),
        "role": asked["role"],
        "scopes": list(asked["scopes"]),
        "ttl": asked["ttl"],
        "expiresAt": asked["expires_at"],
        "rotation": _stated(rotation),
        "secret": {"delivery": "Once"} if asked["once"] else None,
    }
    return {
        "apiVersion": APIKEYS.api_version,
        "kind": "ApiKey",
        "metadata": {"name": name},
        "spec": _stated(spec),
    }


def _stated(fields: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (fields or {}).items() if value}
