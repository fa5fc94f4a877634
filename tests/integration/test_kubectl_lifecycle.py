"""``kubectl apikey`` from create to delete, with the real operator and verifier, as an editor of one namespace."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from keywright.domain import plainkey
from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.kubectl import Done, apikey, at_terminal
from tests.support.processes import Process, get, verifier

Run = Callable[..., Done]
KEY = re.compile(r"kw_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\n")
AMBER, RED = "\x1b[33m", "\x1b[31m"


@pytest.fixture
def run(shared_operator: Process, editor: Kube, namespace: str) -> Run:
    """The program as the editor, in his namespace."""
    assert shared_operator.popen.poll() is None

    def call(*arguments: str, **rest: Any) -> Done:
        return apikey(editor.kubeconfig, *arguments, "-n", namespace, **rest)

    return call


def made(run: Run, *arguments: str) -> str:
    """The plain key that ``create`` has printed."""
    done = run("create", *arguments)
    assert done.status == 0, done.err
    assert KEY.fullmatch(done.out)
    return done.out.strip()


def is_allowed(verifying: str, plain: str) -> bool:
    return get(verifying, Authorization=f"Bearer {plain}")[0] == 200


def key_id(plain: str) -> str:
    return plain.split("_")[2]


def test_create_prints_the_key_and_nothing_else(run: Run, admin: Kube, namespace: str) -> None:
    """``KEY=$(kubectl apikey create x)`` works; what else there is to say is on standard error, without the key."""
    done = run("create", "first", "--ttl", "30d", "--display-name", "The first")
    assert done.status == 0, done.err
    assert KEY.fullmatch(done.out)
    assert done.out.strip() == admin.plain_key(namespace, "first")
    assert done.out.strip()[-40:] not in done.err
    assert "works until" in done.err
    spec = admin.get(namespace, "first")["spec"]
    assert spec == {"displayName": "The first", "ttl": "30d", "suspended": False, "revoked": False}
    again = run("create", "first")
    assert again.status == 1
    assert "kubectl apikey reveal first" in again.err
    revealed = run("reveal", "first")
    assert (revealed.status, revealed.out, revealed.err) == (0, done.out, "")


def test_create_prints_the_object_when_asked_for_it(run: Run, admin: Kube, namespace: str) -> None:
    """With ``-o`` no key is printed; with ``--wait`` it is there all the same."""
    done = run("create", "named", "-o", "name", "--wait")
    assert (done.status, done.out) == (0, "apikey.keywright.dev/named\n")
    plain = admin.plain_key(namespace, "named")
    document = run("create", "other", "-o", "json", "--wait")
    assert json.loads(document.out)["status"]["phase"] == "Active"
    assert plain[-40:] not in document.out
    rehearsed = run("create", "rehearsed", "--dry-run", "server", "-o", "name")
    assert rehearsed.out == "apikey.keywright.dev/rehearsed\n"
    assert {each["metadata"]["name"] for each in admin.list(namespace)} == {"named", "other"}


def test_a_key_that_cannot_be_issued_says_why_at_once(run: Run) -> None:
    """In the operator's words, long before the timeout."""
    # The grace period of its class is longer, which nothing before the operator knows.
    done = run("create", "rotating", "--ttl", "1h", "--rotate-every", "30m", "--timeout", "10m")
    assert done.status == 1
    assert "InvalidSpec" in done.err
    assert done.out == ""
    advice = re.search(
        r"the ApiKey is there all the same: kubectl apikey (delete rotating) -n \S+ takes it away", done.err
    )
    assert advice is not None
    assert run(*advice[1].split()).out == "apikey/rotating deleted\n"


def test_a_key_that_is_delivered_once_is_acknowledged_after_it_was_printed(
    run: Run, admin: Kube, namespace: str
) -> None:
    """Its Secret goes; a second look says how to get another; after a rotation reveal prints that, once."""
    plain = made(run, "once", "--once")
    eventually(lambda: admin.secret(namespace, "once") is None, within=30)
    admin.wait(namespace, "once", SecretDelivered="False/SecretWithdrawn", Active="True")
    again = run("reveal", "once")
    assert (again.status, again.out) == (1, "")
    assert "kubectl apikey rotate once" in again.err
    rotated = run("rotate", "once")
    assert rotated.status == 0
    assert "kubectl apikey reveal once prints it once" in rotated.err
    other = run("reveal", "once")
    assert other.status == 0, other.err
    assert KEY.fullmatch(other.out)
    assert other.out.strip() != plain
    eventually(lambda: admin.secret(namespace, "once") is None, within=30)


def test_a_key_that_did_not_arrive_is_not_acknowledged(run: Run, admin: Kube, namespace: str) -> None:
    """Standard output is a full disk: the key stays in its Secret and can be revealed."""
    assert run("create", "kept", "--once", "--no-wait").status == 0
    admin.wait(namespace, "kept", SecretDelivered="True")
    with Path("/dev/full").open("wb") as full:
        done = run("reveal", "kept", out=full)
    assert done.status == 1
    assert "it is in its Secret still" in done.err
    secret = admin.secret(namespace, "kept")
    assert secret is not None
    assert "keywright.dev/acknowledged" not in secret["metadata"]["annotations"]
    assert KEY.fullmatch(run("reveal", "kept").out)


def test_a_planted_secret_is_not_believed(run: Run, admin: Kube, namespace: str) -> None:
    """One of the right name and a well-formed key, but not the operator's."""
    plain = made(run, "robbed")
    other = made(run, "other")
    admin.delete_secret(namespace, "robbed")
    admin.wait(namespace, "robbed", SecretDelivered="False")
    admin.put_secret(namespace, {"metadata": {"name": "robbed"}, "stringData": {"api-key": other}})
    done = run("reveal", "robbed")
    assert (done.status, done.out) == (1, "")
    assert plain[-40:] not in done.err
    assert other[-40:] not in done.err


def test_a_rotation_tells_until_when_the_old_key_works(run: Run, admin: Kube, namespace: str, verifying: str) -> None:
    """Both work meanwhile. An emergency ends the old one; a later rotation has its grace again."""
    first = made(run, "ci", "--rotate-every", "30d", "--grace", "2h")
    done = run("rotate", "ci")
    assert (done.status, done.out) == (0, "apikey/ci rotated\n")
    until = re.search(rf"old key {key_id(first)} works until (\S+)", done.err)
    assert until is not None
    records = {each["id"]: each for each in admin.get(namespace, "ci")["status"]["keys"]}
    assert records[key_id(first)]["expiresAt"] == until[1]
    second = admin.plain_key(namespace, "ci")
    assert second != first
    eventually(lambda: is_allowed(verifying, first) and is_allowed(verifying, second))
    emergency = run("rotate", "ci", "--now")
    assert emergency.status == 0
    assert "no older key works any more" in emergency.err
    third = admin.plain_key(namespace, "ci")
    eventually(lambda: is_allowed(verifying, third) and not is_allowed(verifying, first))
    assert not is_allowed(verifying, second)
    calm = run("rotate", "ci")
    assert f"old key {key_id(third)} works until" in calm.err
    assert is_allowed(verifying, third)


def test_suspend_resume_revoke_and_delete(run: Run, verifying: str) -> None:
    """Each acts at the verifier, several at a time; what is done already is said to be; a missing one stops no other."""
    keys = [made(run, name) for name in ("a", "b")]
    eventually(lambda: all(is_allowed(verifying, each) for each in keys))
    suspended = run("suspend", "a", "missing", "b")
    assert suspended.status == 1
    assert suspended.out == "apikey/a suspended\napikey/b suspended\n"
    assert "missing: there is no ApiKey missing" in suspended.err
    assert "1 of 3" in suspended.err
    eventually(lambda: not any(is_allowed(verifying, each) for each in keys))
    assert run("suspend", "a").out == "apikey/a is suspended already\n"
    assert run("resume", "a").out == "apikey/a resumed\n"
    eventually(lambda: is_allowed(verifying, keys[0]))
    assert run("resume", "a").out == "apikey/a is not suspended\n"
    assert run("revoke", "a", "b", "--reason", "seen in a log").out == "apikey/a revoked\napikey/b revoked\n"
    eventually(lambda: not is_allowed(verifying, keys[0]))
    assert run("revoke", "a").out == "apikey/a is revoked already\n"
    for verb in ("resume", "rotate", "reveal"):
        done = run(verb, "a")
        assert done.status == 1
        assert "kubectl apikey create" in done.err
    assert "seen in a log" in run("show", "a").out
    assert run("delete", "a", "b").out == "apikey/a deleted\napikey/b deleted\n"
    assert run("list").err.startswith("no such ApiKeys")


def test_keys_are_found_by_all_their_names(run: Run, admin: Kube, namespace: str) -> None:
    """Name, display name, key id, UID; the listing for programs holds metadata and no hash."""
    plain = made(run, "ci-deploy", "--display-name", "payments CI deploy", "--owner", f"editor-of-{namespace}")
    made(run, "other")
    uid = admin.get(namespace, "ci-deploy")["metadata"]["uid"]
    only = "apikey.keywright.dev/ci-deploy\n"
    for flags in (
        ["--name", "payments CI deploy"],
        ["--id", key_id(plain)],
        ["--id", uid],
        ["--owner", f"editor-of-{namespace}"],
    ):
        assert run("list", *flags, "-o", "name").out == only
    assert run("list", "--name", "payments CI", "-o", "name").out == ""
    for reference in ("ci-deploy", key_id(plain), uid):
        assert json.loads(run("show", reference, "-o", "json").out)["metadata"]["uid"] == uid
    near = run("show", "ci-depoly")
    assert near.status == 1
    assert "did you mean ci-deploy?" in near.err
    listed = run("list", "-o", "json").out
    assert [each["metadata"]["name"] for each in json.loads(listed)["items"]] == ["ci-deploy", "other"]
    for secret in (plain[-40:], "argon2", "hash", "fingerprint"):
        assert secret not in listed + run("show", "ci-deploy", "-o", "yaml").out + run("show", "ci-deploy").out


def test_a_list_is_coloured_at_a_terminal_only(run: Run, editor: Kube, admin: Kube, namespace: str) -> None:
    """Amber for what ends soon, red for what is dead; not in a pipe, nor with NO_COLOR."""
    for name, flags in (("calm", []), ("soon", ["--ttl", "1d"]), ("dead", [])):
        made(run, name, *flags)
    run("revoke", "dead")
    admin.wait(namespace, "soon", Expiring="True")
    shown = at_terminal(editor.kubeconfig, "list", "-n", namespace).out
    rows = {name: line for line in shown.splitlines() for name in ("calm", "soon", "dead") if name in line}
    assert AMBER in rows["soon"]
    assert RED in rows["dead"]
    assert "\x1b" not in rows["calm"]
    piped = run("list").out
    assert piped.split("\n")[0].split() == ["NAME", "CREATED", "LAST", "USED", "EXPIRES", "STATUS"]
    assert "\x1b" not in piped
    assert "\x1b" not in at_terminal(editor.kubeconfig, "list", "-n", namespace, NO_COLOR="1").out
    narrow = at_terminal(editor.kubeconfig, "list", "-n", namespace, COLUMNS="40").out
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in narrow.splitlines()) <= 40


def test_waiting_is_shown_at_a_terminal_only(run: Run, editor: Kube, namespace: str) -> None:
    """Whoever waits sees what for; a pipe gets the key and the last words alone."""
    done = at_terminal(editor.kubeconfig, "create", "seen", "-n", namespace)
    assert done.status == 0, done.out
    assert "waiting for seen" in done.out
    piped = run("create", "unseen")
    assert piped.status == 0, piped.err
    assert "waiting" not in piped.out + piped.err


def test_the_last_use_is_exact(run: Run, plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path) -> None:
    """What the verifier beside the keys has published is shown, where status has it to the hour only."""
    plain = made(run, "ci")
    assert "never" in run("list").out
    config = json.loads(plane.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))

    def published() -> str | None:
        uses = [each["spec"].get("uses") or {} for each in admin.list(namespace, "ApiKeyUsage")]
        return max((each.get(f"{namespace}/ci/{key_id(plain)}", "") for each in uses), default=None)

    with verifier(kubeconfig, tmp_path / "log", "--usage-interval", "1s", namespaces=[namespace]) as (
        _,
        listen,
        _admin,
    ):
        eventually(lambda: is_allowed(listen, plain))
        recorded = eventually(lambda: admin.get(namespace, "ci")["status"].get("lastUsedAt"), within=60)
        eventually(lambda: is_allowed(listen, plain) and (published() or "") > recorded, within=60)
    exact = published()
    assert admin.get(namespace, "ci")["status"]["lastUsedAt"] == recorded
    assert str(exact) in run("list", "-o", "wide").out
    assert str(exact) in run("show", "ci").out


def test_the_causes_of_an_invalid_key_are_told_apart(run: Run, admin: Kube, namespace: str, verifying: str) -> None:
    """With the rights of an editor, by the cluster and by the verifier: exit status 3 for each."""
    plain, gone = made(run, "ci"), made(run, "gone")
    valid = run("verify", given=plain)
    assert (valid.status, valid.err) == (0, "")
    assert f"{namespace}/ci" in valid.out
    assert plain[-40:] not in valid.out
    url = f"http://{verifying}/verify"
    eventually(lambda: is_allowed(verifying, plain))
    assert run("verify", "--url", url, given=plain).out == f"allowed: the key of {namespace}/ci\n"

    def invalid(cause: str, code: str, given: str = plain) -> None:
        done = run("verify", given=given)
        assert (done.status, done.out) == (3, "")
        assert done.err.startswith(f"not valid: {cause}"), done.err

        def look() -> Done | None:
            asked = run("verify", "--url", url, given=given)
            return asked if code in asked.err else None

        asked = eventually(look, within=30)
        assert asked.status == 3
        assert plain[-40:] not in done.err + asked.err

    run("suspend", "ci")
    invalid("suspended", "suspended_key")
    run("resume", "ci")
    run("delete", "gone")
    invalid("unknown here", "invalid_key", gone)
    foreign = "kw_test_" + plain.removeprefix("kw_live_")
    assert "mistyped" in run("verify", given=foreign).err  # its checksum is of the whole
    admin.patch(namespace, "ci", {"spec": {"expiresAt": "2020-01-01T00:00:00Z"}})
    invalid("expired", "expired_key")
    run("revoke", "ci", "--reason", "seen in a log")
    invalid("revoked", "revoked_key")
    assert run("verify", "--url", url, "--scheme", "Other", given=plain).status == 1


def test_a_key_of_another_class_is_known_by_its_prefix(run: Run) -> None:
    """Where no key begins so."""
    made(run, "ci")
    foreign = plainkey.generate("kw_test", Random(7)).text
    done = run("verify", given=foreign)
    assert done.status == 3
    assert done.err.startswith("not valid: another class: it begins kw_test_")
    assert "begin kw_live_" in done.err


def test_a_key_of_a_class_that_allows_its_namespace_no_more_is_not_valid(
    run: Run, admin: Kube, namespace: str, make_class: Callable[..., str]
) -> None:
    """Nothing of the spec says so, and the time does not either: the operator does, as verifiers see it."""
    strict = make_class()
    admin.apikey(namespace, "ci", className=strict)
    admin.wait(namespace, "ci", Active="True")
    plain = admin.plain_key(namespace, "ci")
    assert run("verify", given=plain).status == 0
    admin.patch(None, strict, {"spec": {"allowedNamespaces": {"matchLabels": {"for": "others"}}}}, kind="ApiKeyClass")
    admin.wait(namespace, "ci", Active="False/ClassNotAllowed")
    done = run("verify", given=plain)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith(f"not valid: ClassNotAllowed: the operator says of {namespace}/ci: ")


def test_another_secret_behind_a_known_id_is_not_valid(run: Run) -> None:
    """The hash decides, not the id: ids are public."""
    plain = made(run, "ci")
    body = plain[:-49] + "A" * 43
    forged = body + plainkey.checksum(body)
    done = run("verify", given=forged)
    assert done.status == 3
    assert done.err.startswith("not valid: wrong secret")
