"""People at the pages of a key service: who they are, and what they do there."""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from playwright.sync_api import Page, expect

from tests.support.console import Console
from tests.support.kube import eventually
from tests.support.processes import get

__all__ = ["PLAIN", "Person", "accepted", "generate", "may_look"]

PLAIN = re.compile(r"kw_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a token, and the namespace where he may edit."""

    token: str
    user: str
    namespace: str


def generate(page: Page, namespace: str, name: str) -> str:
    """Fill in the form and send it; the plain key that the answer shows."""
    page.goto(urljoin(page.url, f"/keys/{namespace}/new"))
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Generate key").click()
    expect(page.get_by_role("heading", name="How to use it")).to_be_visible()
    shown = page.locator("#plain").inner_text()
    assert PLAIN.fullmatch(shown)
    return shown


def may_look(service: Console, namespace: str, credential: str) -> None:
    """Wait until whoever has this may look at keys: pages do not load themselves again."""
    keys = f"/v1/namespaces/{namespace}/keys"
    eventually(lambda: service.ask("GET", keys, token=credential).status == 200, within=30)


def accepted(verifying: str, plain: str) -> bool:
    """Whether a verifier accepts the key."""
    return get(verifying, Authorization=f"Bearer {plain}")[0] == 200
