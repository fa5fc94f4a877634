"""``verify``: the causes of "invalid key", told apart."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import BinaryIO

import click

from keywright.api.standing import UNREADABLE_END, read_standing
from keywright.api.status import read_status
from keywright.domain import hashing
from keywright.domain.apikey import KeyRecord, Status
from keywright.domain.conditions import Condition, ConditionStatus, ConditionType, find
from keywright.domain.plainkey import PlainKey, escape
from keywright.domain.reasons import Reason
from keywright.domain.times import format_instant
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl import asking
from keywright.kubectl.cluster import Cluster, Manifest, Target, connect
from keywright.kubectl.options import with_target
from keywright.kubectl.output import say
from keywright.kubectl.presented import find_fault

__all__ = ["verify"]

NOT_VALID, NOT_ALLOWED = 3, 4
LONGEST = 65536

# Of these every key of an ApiKey is refused, of others the current one.
_BARRING = (Reason.CLASS_NOT_FOUND, Reason.CLASS_NOT_ALLOWED, Reason.KEY_SUSPENDED)


@click.command(
    options_metavar="[OPTIONS] < FILE",
    epilog="""\b
examples:
  kubectl apikey verify < key.txt
  kubectl apikey verify                     # asks for the key, without showing it
  kubectl apikey verify --offline --prefix kw_live < key.txt
  kubectl apikey verify -A --file key.txt
  kubectl apikey verify --url http://127.0.0.1:8080/verify < key.txt

\b
exit status: 0 valid, 3 not valid, 4 valid but not allowed (--url), 1 it cannot be told.
The key is never an argument: arguments are seen by every process of the machine.
""",
)
@click.argument("arguments", nargs=-1, metavar="")
@with_target(everywhere=True)
@click.option("--file", "source", type=click.File("rb"), help="Read the key from here.")
@click.option("--prefix", help="What keys of the class begin with, as kw_live.")
@click.option("--offline", is_flag=True, help="Format and checksum only.")
@click.option("--url", help="Ask this verifier: its /verify, with a path behind it as it is configured.")
@click.option("--scheme", default="Bearer", show_default=True, help="With --url: Authorization scheme of the class.")
def verify(
    *,
    target: Target,
    arguments: Sequence[str],
    source: BinaryIO | None,
    prefix: str | None,
    offline: bool,
    url: str | None,
    scheme: str,
) -> int:
    """Say whether a key is valid, and if not, why."""
    if arguments:
        # Left to click, the message would repeat it.
        raise click.UsageError(
            "a key is never an argument: give it on standard input, and rotate one that was typed here"
        )
    if offline and url:
        raise click.UsageError("--offline asks nobody: leave --url out")
    # Before anything else: a credential plugin of the kubeconfig may read standard input too.
    key = find_fault(_read_key(source), prefix)
    if isinstance(key, str):
        return _refuse(key)
    if url is not None:
        answer = asking.ask(url, key, scheme)
        if answer.verdict == asking.ALLOWED:
            click.echo(escape(answer.text))
            return 0
        say(answer.text)
        return NOT_ALLOWED if answer.verdict == asking.NOT_ALLOWED else NOT_VALID
    if offline:
        click.echo(f"well-formed: key {key.key_id} of prefix {key.prefix}; whether it works, a cluster or --url tells")
        return 0
    try:
        return _look_up(connect(target), key)
    except KeywrightError as error:
        raise KeywrightError(
            f"well-formed, but whether it works cannot be told (--offline does not ask): {error}"
        ) from None


def _read_key(source: BinaryIO | None) -> str:
    if source is None and sys.stdin.isatty():
        return str(click.prompt("API key", hide_input=True, err=True))
    text = (source or sys.stdin.buffer).read(LONGEST).decode(errors="replace")
    # The line end that echo and editors put there is not part of what was meant.
    return text.removesuffix("\n")


def _refuse(why: str) -> int:
    say(f"not valid: {why}")
    return NOT_VALID


def _look_up(cluster: Cluster, key: PlainKey) -> int:
    prefixes, claims = set(), []
    for found in cluster.list(APIKEYS):
        status = read_status(found)
        if status is None:
            continue
        claims += [(found, status, record) for record in status.keys if record.id == key.key_id]
        if status.masked_key:
            prefixes.add(status.masked_key.rsplit("_", 2)[0])
    if claims:
        # Of several with one key id verifiers take the oldest: the others are copies of its status.
        return _judge(*min(claims, key=lambda claim: _seniority(claim[0])), key)
    where = f"namespace {cluster.scope}" if cluster.scope else "the whole cluster"
    if prefixes and key.prefix not in prefixes:
        begins = ", ".join(f"{each}_" for each in sorted(prefixes))
        return _refuse(
            f"another class: it begins {key.prefix}_, and keys in {where} (context {cluster.context}) begin {begins}: "
            "see which service it is for"
        )
    return _refuse(
        f"unknown here: no ApiKey in {where} (context {cluster.context}) has a key {key.key_id}: it is of another "
        "cluster or namespace (--context, -n, -A), or was replaced or deleted"
    )


def _seniority(found: Manifest) -> tuple[bool, str, str]:
    metadata = found["metadata"]
    return "deletionTimestamp" in metadata, metadata["creationTimestamp"], metadata["uid"]


def _judge(found: Manifest, status: Status, record: KeyRecord, key: PlainKey) -> int:
    now = datetime.now(UTC)
    standing = read_standing(found, {}, now)
    name = f"{standing.namespace}/{standing.name}"
    if not hashing.verify(record.hash, key.text):
        return _refuse(f"wrong secret: {name} has a key of this id, but another secret: take the key from its Secret")
    match standing.status:
        case "Revoked":
            reason = found["spec"].get("revocationReason")
            return _refuse(f"revoked: {name} is revoked for ever{f' ({reason})' if reason else ''}: make a new ApiKey")
        case "Deleted":
            return _refuse(f"deleted: {name} is being deleted: make a new ApiKey")
        case "Suspended":
            return _refuse(f"suspended: {name} is suspended: kubectl apikey resume {standing.name} accepts it again")
        case word if word == UNREADABLE_END:
            return _refuse(
                f"no end: spec.expiresAt of {name} cannot be read, so verifiers refuse its keys: write it as in "
                "2027-01-01T00:00:00Z"
            )
    ends = [each for each in (record.expires_at, standing.expires_at) if each is not None]
    if ends and min(ends) <= now:
        return _refuse(
            f"expired: {name} ended this key at {format_instant(min(ends))}: take the current one, or a new one"
        )
    bar = _find_bar(status, record)
    if bar is not None:
        return _refuse(f"{bar.reason}: the operator says of {name}: {bar.message}")
    until = f"until {format_instant(min(ends))}" if ends else "until it is revoked"
    click.echo(escape(f"valid: {record.state} key {record.id} of {name}, class {standing.class_name}, {until}"))
    return 0


def _find_bar(status: Status, record: KeyRecord) -> Condition | None:
    """Why verifiers refuse a key that neither spec nor time ends: its class, or a status that was tampered with.

    A key that is being delivered is accepted before ``Active`` says so.
    """
    active = find(status.conditions, ConditionType.ACTIVE)
    if active is None or active.status != ConditionStatus.FALSE or active.reason == Reason.PENDING:
        return None
    return active if active.reason in _BARRING or record.id == status.current_key_id else None
