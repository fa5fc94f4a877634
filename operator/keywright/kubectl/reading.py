"""``list`` and ``show``."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import click

from keywright.api.finding import has_id, owned_by
from keywright.api.standing import Standing, Tone, describe_distance, exact_uses, read_standing
from keywright.api.status import read_status
from keywright.domain.apikey import Status
from keywright.domain.times import format_instant
from keywright.kube.resources import APIKEYS, APIKEYUSAGES
from keywright.kubectl.cluster import Cluster, Manifest, RequestError
from keywright.kubectl.finding import find_key
from keywright.kubectl.options import at_cluster, form_option, key_argument
from keywright.kubectl.output import print_documents, print_fields, print_table, say

__all__ = ["list_keys", "print_list", "show", "standings"]


@click.command(
    name="list",
    epilog="""\b
examples:
  kubectl apikey list
  kubectl apikey list -A --owner bob@example.com
  kubectl apikey list --name "payments CI deploy" -o name
  kubectl apikey list -A --id 4hJk29sLmQ0z          # from an audit line
  kubectl apikey list -o wide
""",
)
@at_cluster(everywhere=True)
@click.option("-l", "--selector", metavar="LABELS", help="Of these labels, as in team=payments.")
@click.option("--name", "display_name", metavar="TEXT", help="Of this display name, letter by letter.")
@click.option("--id", "key_id", metavar="ID", help="With this key id or UID.")
@click.option("--owner", metavar="USER", help="Of this owner.")
@form_option("json", "yaml", "name", "wide")
def list_keys(
    cluster: Cluster,
    selector: str | None,
    display_name: str | None,
    key_id: str | None,
    owner: str | None,
    form: str | None,
) -> None:
    """List keys. Amber: look at it soon. Red: it works no more."""
    field_selector = owned_by(owner) if owner is not None else None
    found = list(cluster.list(APIKEYS, label_selector=selector, field_selector=field_selector))
    if display_name is not None:
        found = [
            each for each in found if (each["spec"].get("displayName") or each["metadata"]["name"]) == display_name
        ]
    if key_id is not None:
        found = [each for each in found if has_id(each, key_id)]
    if form not in (None, "wide"):
        print_documents(found, str(form), is_list=True)
    elif found:
        print_list(standings(cluster, found), has_namespaces=cluster.scope is None, is_wide=form == "wide")
    else:
        say(f"no such ApiKeys in {f'namespace {cluster.scope}' if cluster.scope else 'all namespaces'}")


@click.command(
    epilog="""\b
examples:
  kubectl apikey show ci-deploy
  kubectl apikey show 4hJk29sLmQ0z
""",
)
@key_argument()
@at_cluster()
@form_option("json", "yaml", "name")
def show(cluster: Cluster, name: str, form: str | None) -> None:
    """Say all there is to say about one key, but for the key."""
    manifest = find_key(cluster, name)
    if form is not None:
        print_documents([manifest], form)
        return
    print_fields(_fields(manifest, standings(cluster, [manifest])[0], datetime.now(UTC)))


def standings(cluster: Cluster, manifests: Iterable[Manifest]) -> list[Standing]:
    """How each stands, with the exact last uses as far as this person may read them where the keys are."""
    try:
        uses = exact_uses(cluster.list(APIKEYUSAGES))
    except RequestError as error:
        # Status has the last use to the hour all the same.
        if error.status not in (403, 404):
            raise
        uses = {}
    now = datetime.now(UTC)
    return [read_standing(each, uses, now) for each in manifests]


def print_list(
    found: Sequence[Standing], *, has_namespaces: bool, is_wide: bool = False, to_stderr: bool = False
) -> None:
    """The table of ``list``. Wide: exact times in UTC."""
    now = datetime.now(UTC)
    header = ["NAME", "CREATED", "LAST USED", "EXPIRES", "STATUS"]
    rows = []
    for each in found:
        times = (each.created_at, each.last_used_at, each.expires_at)
        shown = [_exact(at) if is_wide else describe_distance(at, now) for at in times]
        cells = [each.name, *shown, each.status]
        if is_wide:
            cells += [each.display_name, each.class_name, each.role, each.owner, each.key_id]
        rows.append((each.tone, [each.namespace, *cells] if has_namespaces else cells))
    header += ["DISPLAY NAME", "CLASS", "ROLE", "OWNER", "KEY ID"] if is_wide else []
    print_table(["NAMESPACE", *header] if has_namespaces else header, rows, to_stderr=to_stderr)


def _fields(manifest: Manifest, standing: Standing, now: datetime) -> Iterator[tuple[str, Tone, str]]:
    """Label, colour and text of each line of ``show``; an empty text is left out."""
    spec, status = manifest["spec"], read_status(manifest) or Status()
    yield "Name", Tone.PLAIN, f"{standing.namespace}/{standing.name}"
    yield "Display name", Tone.PLAIN, standing.display_name
    yield "Status", standing.tone, standing.status
    yield "Class", Tone.PLAIN, standing.class_name
    yield "Owner", Tone.PLAIN, standing.owner
    yield "Role", Tone.PLAIN, standing.role
    yield "Scopes", Tone.PLAIN, ", ".join(spec.get("scopes") or ())
    yield "Description", Tone.PLAIN, spec.get("description") or ""
    for label, at in (
        ("Created", standing.created_at),
        ("Last used", standing.last_used_at),
        ("Expires", standing.expires_at),
    ):
        yield label, Tone.PLAIN, _dated(at, now)
    yield "Rotates", Tone.PLAIN, _dated(status.rotate_at, now) if status.rotate_at and not standing.is_over else ""
    yield "Secret", Tone.PLAIN, status.secret_name or ""
    for record in status.keys:
        ends, used = _dated(record.expires_at, now), _dated(record.last_used_at, now)
        yield f"Key {record.id}", Tone.PLAIN, f"{record.state}; ends: {ends}; last used: {used}"
    for each in status.conditions:
        yield each.type, Tone.PLAIN, f"{each.status}, {each.reason}: {each.message}"


def _exact(at: datetime | None) -> str:
    return format_instant(at) if at is not None else "never"


def _dated(at: datetime | None, now: datetime) -> str:
    return f"{format_instant(at)} ({describe_distance(at, now)})" if at is not None else "never"
