"""Fixtures of the tests in Debian's Chromium: one key service, with operator and verifier at work, and who visits it.

A plugin: nothing is imported from here.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from keywright_local import ControlPlane
from tests.support.browser import Visit, browse, visiting
from tests.support.console import Console, console, console_account, make_account, serve
from tests.support.console_visits import Person, may_look
from tests.support.kube import Kube
from tests.support.processes import Process


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browse() as browser:
        yield browser


@pytest.fixture(scope="session")
def session_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("session") / "key"
    path.write_bytes(secrets.token_bytes(32))
    return path


@pytest.fixture(scope="session")
def service(
    plane: ControlPlane,
    admin: Kube,
    shared_operator: Process,
    session_key: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Console]:
    """One key service for all namespaces. This machine is its front proxy, too."""
    account = console_account(plane, admin, everywhere=True)
    flags = ("--session-key-file", str(session_key), "--proxy-from", "127.0.0.1/32")
    headers = ("--proxy-user-header", "X-Front-User", "--proxy-groups-header", "X-Front-Groups")
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, *flags, *headers, "--class", "standard") as started:
        yield started


@pytest.fixture
def person(admin: Kube, service: Console, namespace: str) -> Person:
    """A service account that may edit the test's namespace, which the key service serves, as is known by now."""
    serve(admin, namespace)
    token = make_account(admin, namespace, "alice", "edit")
    may_look(service, namespace, token)
    return Person(token=token, user=f"system:serviceaccount:{namespace}:alice", namespace=namespace)


@pytest.fixture
def visit(chromium: Browser, service: Console) -> Iterator[Visit]:
    with visiting(chromium, service.url) as visit:
        yield visit
