"""``kubectl apikey`` from create to delete, with the real operator and API server, as an editor of one namespace."""

import json
import re
from collections.abc import Callable

import pytest
import yaml

from tests.support.kube import Kube, eventually
from tests.support.kubectl import Done, apikey, at_terminal
from tests.support.processes import Process

Run = Callable[..., Done]
KEY = re.compile(r"kw_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\n")


@pytest.fixture
def run(shared_operator: Process, editor: Kube, namespace: str) -> Run:
    """The program as the editor, in his namespace."""
    assert shared_operator.popen.poll() is None
    return lambda *arguments, **rest: apikey(editor.kubeconfig, *arguments, "-n", namespace, **rest)


def test_create_prints_the_key_and_nothing_else(run: Run, admin: Kube, namespace: str) -> None:
    """``KEY=$(kubectl apikey create x)`` works; what else there is to say is on standard error."""
    done = run("create", "first", "--ttl", "30d", "--display-name", "The first")
    assert done.status == 0, done.err
    assert KEY.fullmatch(done.out)
    assert done.out.strip() == admin.plain_key(namespace, "first")
    assert done.out.strip() not in done.err
    assert "works until" in done.err
    assert admin.get(namespace, "first")["spec"] == {
        "displayName": "The first",
        "ttl": "30d",
        "suspended": False,
        "revoked": False,
    }


def test_a_key_that_is_delivered_once_is_acknowledged_after_it_was_printed(
    run: Run, admin: Kube, namespace: str
) -> None:
    """Its Secret goes; a second look says how to get another; after a rotation reveal prints that, once."""
    done = run("create", "once", "--once")
    assert done.status == 0, done.err
    assert KEY.fullmatch(done.out)
    eventually(lambda: admin.secret(namespace, "once") is None, within=30)
    admin.wait(namespace, "once", SecretDelivered="False/SecretWithdrawn", Active="True")
    again = run("reveal", "once")
    assert again.status == 1
    assert "kubectl apikey rotate once" in again.err
    assert run("rotate", "once").status == 0
    other = run("reveal", "once")
    assert other.status == 0, other.err
    assert KEY.fullmatch(other.out)
    assert other.out != done.out
    eventually(lambda: admin.secret(namespace, "once") is None, within=30)


def test_a_key_that_did_not_arrive_is_not_acknowledged(run: Run, admin: Kube, namespace: str) -> None:
    """Standard output is full: the key stays in its Secret and can be revealed."""
    assert run("create", "kept", "--once", "--no-wait").status == 0
    admin.wait(namespace, "kept", SecretDelivered="True")
    with open("/dev/full", "wb") as full:
        import subprocess

        from tests.support.kubectl import PROGRAM, _environment

        done = subprocess.run(
            [PROGRAM, "reveal", "kept", "-n", namespace],
            env=_environment(None),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    secret = admin.secret(namespace, "kept")
    assert secret is not None
    assert "keywright.dev/acknowledged" not in secret["metadata"]["annotations"]
